"""What the templates are filled with: the facts of a run or a search, its charts, and the values behind them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.report import charts
from lstm_ae.report.charts import Chart
from lstm_ae.report.gather import RunFacts
from lstm_ae.report.pictures import Picture
from lstm_ae.report.searches import SearchFacts
from lstm_ae.report.tables import Detected
from lstm_ae.report.vectors import svg
from lstm_ae.report.zoom import Zoom, zooms
from lstm_ae.search.presentation import draw
from lstm_ae.words import number, words

# Rows of a table of values; of more, every n-th is shown.
ROWS = 200


class RunView(NamedTuple):
    """A run as the page shows it.

    Args:
        curves: a chart of each quantity over the epochs.
        step: every so many epochs stand in `epochs`, the rows of the values behind the curves.
        scores: the chart of the scores of normal rows, and `shares` the values behind it.
        detected: the chart of the scores of a table's rows, and `rows` the values behind it.
        zooms: the charts of the last detection that can be looked into.
        pictures: the figures that are embedded.
        redrawn: figures that the curves stand for.
        left: figures that there was no room for.
    """

    run: RunFacts
    curves: Sequence[Chart]
    step: int
    epochs: Sequence[Sequence[float]]
    scores: Chart | None
    shares: Sequence[tuple[str, float]]
    detected: Chart | None
    rows: Sequence[tuple[str, float, str]]
    zooms: Sequence[Zoom]
    pictures: Sequence[Picture]
    redrawn: Sequence[Picture]
    left: Sequence[Picture]

    @property
    def kind(self) -> str:
        """Which template it is for."""
        return self.run.kind

    @property
    def sections(self) -> dict[str, str]:
        """The sections there are, in their order, and their headings."""
        run = self.run
        there = {
            "results": ("What came out", run.measures or run.training or run.verdicts),
            "asked": ("What was asked", run.asked or run.choices),
            "training": ("Training", self.curves),
            "anomalies": ("Anomalies", run.threshold or run.events or run.detection or self.detected),
            "figures": ("Figures", self.pictures or self.left),
            "model": ("Model", run.network),
            "tables": ("Tables", run.tables),
            "made": ("Where it was made", run.asked),
        }
        return {key: title for key, (title, content) in there.items() if content}


class SearchView(NamedTuple):
    """A search as the page shows it: its charts, and its runs, by what they are."""

    search: SearchFacts
    charts: Sequence[Chart]
    runs: Mapping[str, RunView]

    @property
    def kind(self) -> str:
        """Which template it is for."""
        return self.search.kind

    @property
    def sections(self) -> dict[str, str]:
        """The sections there are, in their order, and their headings."""
        titles = {
            "results": "What came out",
            "figures": "Figures",
            "asked": "What was asked",
            "made": "Where it was made",
        }
        return {key: title for key, title in titles.items() if key != "figures" or self.charts}


def embedded(run: RunFacts) -> list[Picture]:
    """The figures that stand in the page as they are."""
    return [picture for picture in run.pictures if not _redrawn(picture, run) and not _searched(picture, run)]


def view_run(run: RunFacts, fitted: Iterator[Picture | None], points: int) -> RunView:
    """A run as the page shows it.

    Args:
        fitted: gives its embedded figures, None where there was no room.
        points: at most, of each line of a chart that can be looked into.
    """
    best = run.training.best_epoch if run.training else None
    found = run.detected
    step = -(-len(run.history.get("epoch", ())) // ROWS) or 1
    pictures = [(picture, next(fitted)) for picture in embedded(run)]
    return RunView(
        run=run,
        curves=charts.training(run.history, best) if run.history else (),
        step=step,
        epochs=_epochs(run, step, best),
        scores=charts.scores(run.scores, run.threshold.value if run.threshold else None) if run.scores else None,
        shares=_shares(run.scores),
        detected=charts.detected(found.times, found.scores, found.anomalies, _used(run)) if found else None,
        rows=_rows(found) if found else (),
        zooms=zooms(run.detection, points) if run.detection else (),
        pictures=[kept for _, kept in pictures if kept],
        redrawn=[picture for picture in run.pictures if _redrawn(picture, run)],
        left=[picture for picture, kept in pictures if not kept],
    )


def view_search(search: SearchFacts, fitted: Iterator[Picture | None], points: int) -> SearchView:
    """A search as the page shows it; `fitted` and `points` are for its runs, as for `view_run`."""
    runs = {title: view_run(run, fitted, points) for title, run in search.runs.items()}
    return SearchView(search, list(_drawn(search)) if search.trials else (), runs)


def _redrawn(picture: Picture, run: RunFacts) -> bool:
    """Whether the page draws a figure anew, from the run's history."""
    return picture.name in ("loss", "curves") and bool(run.history)


def _searched(picture: Picture, run: RunFacts) -> bool:
    """Whether a figure shows a search for anomalies, of which the page draws the last one: the figure may be older."""
    return picture.name == "detection" and run.detection is not None


def _epochs(run: RunFacts, step: int, best: int | None) -> list[Sequence[float]]:
    """Every `step`-th epoch, the last one, and the one whose weights were kept."""
    rows = list(zip(*run.history.values(), strict=True))
    epochs = run.history.get("epoch", ())
    return [row for k, row in enumerate(rows) if k % step == 0 or k == len(rows) - 1 or epochs[k] == best]


def _shares(scores: Sequence[float]) -> list[tuple[str, float]]:
    """What so many of the scores are at most."""
    shares = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0)
    values = np.quantile(scores, shares).tolist() if scores else []
    return [(f"{share:.1%}", value) for share, value in zip(shares, values, strict=False)]


def _rows(found: Detected) -> list[tuple[str, float, str]]:
    """Rows of a searched table, evenly apart."""
    return [
        (str(found.times[k]).replace("T", " "), float(found.scores[k]), "yes" if found.anomalies[k] else "no")
        for k in range(0, len(found.scores), -(-len(found.scores) // ROWS))
    ]


def _used(run: RunFacts) -> float | None:
    """The run's threshold where the detection has gone by it, and by no other."""
    if not run.threshold or not run.detected:
        return None
    above = run.detected.scores > run.threshold.value
    return run.threshold.value if (above == run.detected.anomalies).all() else None


def _drawn(search: SearchFacts) -> Iterator[Chart]:
    best, objective = search.best, words(search.plan.objective.name)
    setting = ", ".join(f"{words(name)} {number(value)}" for name, value in best.values.items()) if best else ""
    found = f" The best, {number(best.score)}, is that of {setting}." if best else " No trial is complete."
    options = ", ".join(map(words, search.axes))
    told = {
        "grid": ("All settings", f"The {objective} of every setting of {options}; the darker, the better."),
        "trials": ("All trials", f"Each trial as a line across {options} and its {objective}."),
        "curves": ("All trainings", f"The {objective} of each training over the epochs."),
    }
    for name, figure in draw(search.plan, search.trials).items():
        title, text = told[name]
        yield Chart(title, text + found, svg(figure, title=title, text=text + found, themed=False))
