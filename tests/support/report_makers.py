"""Runs and searches for tests of reports, written without training, and a parser of the page."""

import functools
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from detectors import normal_scores, plain_calibration

from lstm_ae import run as runs
from lstm_ae.config import Config, Series, Toy
from lstm_ae.config.space import Axis
from lstm_ae.data.windows import Source
from lstm_ae.plots.base import figure, png
from lstm_ae.run import Run
from lstm_ae.search import directory as folders
from lstm_ae.search.directory import SearchDirectory
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import COMPLETED, Execution, Objective, Trial

SAVED = Path(__file__).parents[2] / "saved_models"
HOSTILE = """<script>alert("1")</script>'&amp;<b onclick="x">"""
VOID = {"meta", "img", "br", "link", "input", "hr"}


def metric(
    value: float | None, higher: bool = False, unit: str = "scaled", **baselines: float | None
) -> dict[str, Any]:
    return {"value": value, "baselines": baselines, "unit": unit, "higher_is_better": higher}


def made(
    where: str,
    config: Config | None = None,
    *,
    words: str = "made for a test",
    sha: str = "abc",
    test: dict[str, Any] | None = None,
    losses: tuple[float, ...] = (0.5, 0.25, 0.3),
    **more: Any,
) -> Run:
    """Write a complete run; `more` is added to its metrics."""
    run = runs.create_run(
        Path(where), config or Toy(), Source(words, sha, "CC0", (words,)), ("", "IBM"), f"lstmae {words}"
    )
    run.write_history([{"epoch": k, "loss": 2 * loss, "val_loss": loss} for k, loss in enumerate(losses, 1)])
    for name in ("loss", "reconstruction"):
        run.write_figure(name, picture())
    shutil.copy(SAVED / "toy" / "model.keras", run.model_file)
    training = {"epochs": len(losses), "best_epoch": 2, "stopped": "", "seconds": 61.2, "parameters": 3281}
    test = test or {"reconstruction_mse": metric(0.25, mean=0.5)}
    run.write_metrics({"test": test, "training": training, "leaky": ""} | more)
    return run


@functools.cache
def picture() -> bytes:
    return png(figure(height=1.0))


def found_anomalies(where: str, name: str = "temp", threshold: float = 2.0) -> Run:
    """Write a run on a table with detected anomalies in rows 3 and 4 of 6."""
    limit = {"threshold": {"value": threshold, "rule": "fixed:2", "how": f"as {name} says"}}
    run = made(where, Series(data="t.csv", time_col="time", value_cols=(name,), window=4), words=name, **limit)
    scores = np.array([0.5, 0.25, np.nan, 1.0])
    normal = normal_scores(plain_calibration(4, 1), scores)
    (run.directory / normal.file).write_bytes(normal.content())
    times = [f"2024-01-0{day}T00:00:00" for day in range(1, 7)]
    marked = [False, False, True, True, False, False]
    run.write_table("scores", {"time": times, "score": [1.0, 0.5, 3.0, 9.0, None, 1.0], "p": times, "anomaly": marked})
    columns = {"start": [times[2]], "end": [times[3]], "score": [9.123456789012], "columns": [f"{name} 100%"]}
    run.write_table("events", columns)
    return run


def searched(where: str, values: tuple[int, ...] = (2, 4), words: str = "made for a test") -> SearchDirectory:
    """Write a search whose trials scored 0.1, 0.2, and so on; the run of the first is kept."""
    plan = SearchPlan(config=Toy(), axes=(Axis("units", values), Axis("clip", (1.0,))), objective=Objective("val_loss"))
    found = folders.create_search(Path(where), plan, Source(words, "abc", "CC0"), (), "lstmae toy tune --units 2,4")
    for number, units in enumerate(values):
        score = 0.1 * (number + 1)
        trial = Trial(number, {"units": units, "clip": 1.0})
        found.journal.add(trial)
        execution = Execution(0, score, 2, 2, "", 1.5)
        found.journal.add(trial._replace(status=COMPLETED, executions=(execution,)))
    made(str(found.run(0).directory), Toy(units=values[0]))
    return found


def changed(path: Path, **values: Any) -> None:
    """Rewrite keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


class Page(HTMLParser):
    """Parser that collects the elements of a page with their attributes, its text, and nesting errors."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.wrong: list[str] = []
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.html = html
        self.feed(html)
        self.close()
        self.wrong += self.open

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.wrong.append(f"</{tag}> in {self.open[-3:]}")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.pieces.append(data)
