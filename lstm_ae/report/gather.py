"""From a run's directory to all that a report says of it; what is missing or damaged is said, the rest still told."""

import csv
import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lstm_ae.anomaly.sketch import Sketches
from lstm_ae.config import Config
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.report.asked import Asked, Choice, asked_of, choices_of
from lstm_ae.report.beside import Said, said
from lstm_ae.report.measures import (
    Measure,
    Threshold,
    Training,
    measures_of,
    threshold_of,
    training_of,
    verdicts_of,
    whole,
)
from lstm_ae.report.network import Network, read_network
from lstm_ae.report.pictures import Picture, read_pictures
from lstm_ae.report.tables import Detected, Table, read_detected, read_table
from lstm_ae.run import Run
from lstm_ae.tasks import columns

Found = TypeVar("Found")


class Beside(NamedTuple):
    """A number of the source report with ours; `baselines` are those that stand beside ours."""

    said: Said
    part: str
    value: float
    better: bool
    baselines: Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What is known of a run; what is not is empty or None.

    Args:
        name: its directory, as it was given.
        choices: every option, in the order of declaration.
        verdicts: by part of the data, what is said of a forecast.
        history: `history.csv` by column.
        pictures: its figures.
        tables: its other CSV files.
        events: the events of `events.csv`, where a detection has put them there.
        detected: the scores of `scores.csv`, likewise.
        detection: what was kept of the last detection.
        scores: the scores of normal rows that the threshold rests on.
        missing: what is missing or damaged, a sentence each.
    """

    name: str
    directory: Path
    asked: Asked | None
    config: Config | None
    choices: Sequence[Choice]
    measures: Sequence[Measure]
    verdicts: Mapping[str, str]
    training: Training | None
    threshold: Threshold | None
    history: Mapping[str, Sequence[float]]
    network: Network | None
    pictures: Sequence[Picture]
    tables: Sequence[Table]
    events: Table | None
    detected: Detected | None
    detection: Sketches | None
    scores: Sequence[float]
    missing: Sequence[str]

    @property
    def kind(self) -> str:
        """What a reader calls it."""
        return "run"

    @property
    def differing(self) -> list[Choice]:
        """The options that are not at their defaults."""
        return [choice for choice in self.choices if choice.differs]

    @property
    def parts(self) -> list[str]:
        """The parts of the data that were measured on, the test part first."""
        return sorted(dict.fromkeys(measure.part for measure in self.measures), key=lambda part: part != "test")

    @property
    def beside(self) -> list[Beside]:
        """The source report's numbers beside ours."""
        found = []
        for line in said(self.config, self.asked.data if self.asked else "") if self.config else ():
            for row in self.measures:
                if row.name == line.measure and row.part in line.parts and row.value is not None:
                    better = row.value > line.value if row.higher_is_better else row.value < line.value
                    known = {name: value for name, value in row.baselines.items() if value is not None}
                    found.append(Beside(line, row.part, row.value, better, known))
        return found


def gather(directory: Path) -> RunFacts:
    """All that a run's directory tells.

    Raises:
        DataError: there is no such directory, or nothing in it that a report could show.
    """
    if not directory.is_dir():
        raise DataError(f"There is no run at {str(directory)!r}; `lstmae runs list` shows those in 'runs'")
    run, missing = Run(directory), list[str]()

    def read(without: str, reading: Callable[[], Found]) -> Found | None:
        try:
            return reading()
        except (DataError, ConfigError) as error:
            missing.append(f"{without}: {error}")
            return None

    about = read("What was asked is not known", run.about) or {}
    asked = asked_of(about) if about else None
    config = read("The options stand here as in config.json", run.config) if about else None
    metrics = read("There are no results", lambda: _metrics(run, asked)) or {}
    measuring = directory / "metrics.json"
    history = read("There are no training curves", lambda: _history(run)) or {}
    network = read("The layers are not known", lambda: read_network(run.model_file))
    pictures, damaged = read_pictures(
        directory / "figures", directory, asked.task if asked else None, asked.command if asked else ""
    )
    if not pictures or damaged:
        which = ", ".join(map(repr, damaged)) + " damaged" if damaged else "none there"
        missing.append(f"Figures: {which}; {_draw_again(directory, asked)}")
    tables = [read("A table is not shown", lambda at=at: read_table(at)) for at in _tables(directory)]  # type: ignore[misc]
    named: dict[str, Table] = {table.name: table for table in tables if table}
    if not (about or metrics or history or network or pictures or named):
        raise DataError(
            f"There is nothing to report of {str(directory)!r}: it has no readable config.json, metrics.json, "
            "history.csv, model.keras, table or figure; give the directory of a run or a search"
        )
    detected = None
    if "scores.csv" in named:
        detected = read("The scores of rows are not drawn", lambda: read_detected(directory / "scores.csv"))
    return RunFacts(
        name=str(directory),
        directory=directory,
        asked=asked,
        config=config,
        choices=choices_of(config, about.get("config")),
        measures=read("The measures are not known", lambda: whole(measuring, measures_of, metrics)) or (),
        verdicts=read("The verdicts are not known", lambda: whole(measuring, verdicts_of, metrics)) or {},
        training=read("The training is not known", lambda: whole(measuring, training_of, metrics)),
        threshold=read("The threshold is not known", lambda: whole(measuring, threshold_of, metrics)),
        history=history,
        network=network,
        pictures=pictures,
        tables=[table for name, table in named.items() if name not in ("events.csv", "scores.csv")],
        events=named.get("events.csv"),
        detected=detected,
        detection=read("The events are not drawn", run.detection),
        scores=read("The scores of normal rows are not known", lambda: _scores(run)) or (),
        missing=missing,
    )


def _metrics(run: Run, asked: Asked | None) -> dict[str, Any]:
    if not asked and not run.finished:  # it cannot be said how to go on
        raise DataError(f"{str(run.directory)!r} has no metrics.json")
    return run.metrics()


def _history(run: Run) -> dict[str, list[float]]:
    try:
        rows = run.history()
    except (OSError, csv.Error) as error:
        raise DataError(f"{str(run.directory / 'history.csv')!r} cannot be read ({error})") from error
    if not rows:
        raise DataError(f"{str(run.directory)!r} has no history.csv, or an empty one")
    names = set(rows[-1])
    # The row of epoch 0, the untrained start, may lack values.
    whole = all(set(row) == names or (row.get("epoch") == 0 and set(row) <= names) for row in rows)
    if not all(name.removeprefix("val_") for name in names) or "epoch" not in names or not whole:
        raise DataError(f"{str(run.directory / 'history.csv')!r} is damaged")
    return columns(rows)


def _scores(run: Run) -> Sequence[float]:
    """Validation's scores, without the rows that have none."""
    if not (run.directory / "normal.npz").is_file():
        return ()
    return [score for score in run.normal()[0].scores.tolist() if score == score]


def _tables(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.glob("*.csv")) if path.name != "history.csv"]


def _draw_again(directory: Path, asked: Asked | None) -> str:
    if asked and asked.task != "series":
        return f"draw them by lstmae {asked.task} plot --run {shlex.quote(str(directory))}"
    return "train a new run"
