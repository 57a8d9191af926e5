"""The content of a run's `metrics.json`, as a reader needs it. Anyone may have edited that file, so all is checked."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lstm_ae.errors import DataError
from lstm_ae.run import measured

Found = TypeVar("Found")

# A baseline of this name is what the measure should be, not what it should beat.
WANTED = "wanted"


class Measure(NamedTuple):
    """A measured number; see `lstm_ae.evaluation.Metric`. None stands for what cannot be computed."""

    part: str
    name: str
    value: float | None
    unit: str
    baselines: Mapping[str, float | None]
    higher_is_better: bool

    @property
    def beats(self) -> Mapping[str, bool]:
        """By baseline, whether the value is better; without what cannot be compared."""
        if self.value is None:
            return {}
        sign = 1 if self.higher_is_better else -1
        known = {name: value for name, value in self.baselines.items() if value is not None and name != WANTED}
        return {name: sign * self.value > sign * value for name, value in known.items()}

    @property
    def better(self) -> bool | None:
        """Whether it is better than every baseline; None where there is nothing to compare it with."""
        return all(self.beats.values()) if self.beats else None


class Training(NamedTuple):
    """How a training went; `stopped` says why it ended early, `refit` on what more it was trained, "" for neither."""

    epochs: int
    best_epoch: int
    stopped: str
    seconds: float
    parameters: int
    refit: str = ""


class Threshold(NamedTuple):
    """From which score on a row is an anomaly, by which rule, and what that rests on."""

    value: float
    rule: str
    how: str


def measures_of(metrics: Mapping[str, Any]) -> list[Measure]:
    """Every measure on every part, in the file's order."""
    return [
        Measure(
            part,
            name,
            _number(row["value"]),
            str(row["unit"]),
            {base: _number(value) for base, value in row["baselines"].items()},
            bool(row.get("higher_is_better")),
        )
        for part, rows in measured(metrics).items()
        for name, row in rows.items()
    ]


def training_of(metrics: Mapping[str, Any]) -> Training | None:
    """The training; None where there are no metrics at all."""
    if "training" not in metrics:
        return None
    found = metrics["training"]
    epochs, best, parameters = (int(found[key]) for key in ("epochs", "best_epoch", "parameters"))
    refit = str(found.get("refit", ""))
    return Training(epochs, best, str(found["stopped"]), float(found["seconds"]), parameters, refit)


def threshold_of(metrics: Mapping[str, Any]) -> Threshold | None:
    """The threshold; None for a run that finds no anomalies."""
    if "threshold" not in metrics:
        return None
    found = metrics["threshold"]
    return Threshold(float(found["value"]), str(found["rule"]), str(found["how"]))


def verdicts_of(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What is said of a forecast, by part of the data."""
    return {part: str(verdict["text"]) for part, verdict in metrics.get("verdict", {}).items()}


def whole(path: Path, reading: Callable[[Mapping[str, Any]], Found], metrics: Mapping[str, Any]) -> Found:
    """Read a part of the metrics in a file; raises `DataError` where that part is not what a training leaves."""
    try:
        return reading(metrics)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{str(path)!r} is damaged ({type(error).__name__}: {error})") from error


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise TypeError(f"no number: {str(value)[:40]!r}")
    return value
