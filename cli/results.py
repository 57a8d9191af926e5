"""How results are printed."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_ae.errors import ConfigError
from lstm_ae.installation import install_hint
from lstm_ae.words import epoch_name, gain

from .talk import Talk, shown

ENDINGS = (".csv", ".parquet")
# Columns of a table that are told of one by one.
MOST = 20


def show_metrics(talk: Talk, metrics: Mapping[str, Any], leaky: str) -> None:
    """A row a measure: the value and its baselines; and what flatters them, if anything does."""
    from lstm_ae.run import measured

    rows = []
    for part, measures in measured(metrics).items():
        for name, metric in measures.items():
            beside = "  ".join(f"{base} {shown(value)}" for base, value in metric["baselines"].items())
            rows.append((part, name, metric["value"], metric["unit"] or "-", beside or "-"))
    talk.table(["part", "measure", "value", "unit", "baseline"], rows)
    _show_columns(talk, metrics.get("columns", {}))
    for part, verdict in metrics.get("verdict", {}).items():
        talk.show(f"Verdict on {part}: {verdict['text']}")
    if leaky:
        talk.show(f"LEAKY: {leaky}")


def show_verdicts(talk: Talk, verdicts: Mapping[str, Any], naive: str) -> None:
    """The verdict on the best baseline of a backtest, and on the naive one where that is another."""
    first = next(iter(verdicts))
    told = dict.fromkeys((first, naive))
    talk.show(f"Verdict over all folds: {'; '.join(str(verdicts[name]) for name in told)}")


def _show_columns(talk: Talk, columns: Mapping[str, Any]) -> None:
    """What a forecast is worth in each column of a table."""
    from lstm_ae.words import heading

    rows = [(part, *row) for part, found in columns.items() for row in list(found.items())[:MOST]]
    if not rows:
        return
    most = max(map(len, columns.values()))
    talk.show("Skill by column" + (f", the first {MOST} of {most:,}:" if most > MOST else ":"))
    header = ["part", "column", "skill", "linear regression", "all other columns", "baseline"]
    names = ("skill", "linear", "others")
    talk.table(header, [(part, heading(k), *(gain(of[n]) for n in names), of["baseline"]) for part, k, of in rows])


def require_png(figure: Path) -> None:
    """Raise where a figure cannot be written to a path."""
    if figure.suffix.lower() != ".png" or figure.is_dir():
        raise ConfigError(f"--figure must be a file that ends in .png. Received: {str(figure)!r}")


def require_table(name: str, path: Path) -> None:
    """Raise where a table cannot be written to the path that the option `name` gives."""
    if path.suffix not in ENDINGS:
        raise ConfigError(f"{name} must end in .csv or .parquet. Received: {str(path)!r}")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(f"{name} {path} needs pyarrow: {install_hint('parquet')}, or give .csv")


def remark(remarks: Sequence[str], talk: Talk) -> None:
    """Say what is worth a word about a table."""
    for text in remarks:
        talk.say(f"note: {text}")


def show_files(talk: Talk, files: Mapping[str, Path]) -> None:
    """A line a file: what it is and where."""
    width = max(len(name) for name in files) + 1
    for name, path in files.items():
        talk.show(f"{name + ':':<{width}} {path}")


def show_training(talk: Talk, run: Any) -> None:
    """What a training came to."""
    metrics, leaky = run.metrics(), run.about()["data"]["leaky"]
    show_metrics(talk, metrics, leaky)
    done = metrics["training"]
    why = f" ({done['stopped']})" if done["stopped"] else ""
    epochs = f"{done['epochs']} epoch" + ("s" if done["epochs"] != 1 else "")
    best = f"weights of {epoch_name(done['best_epoch'])}, {done['parameters']:,} parameters"
    talk.show(f"{epochs} in {done['seconds']:.0f} s{why}, {best}")
    if "note" in done:
        talk.show(done["note"])
    show_files(talk, {"run": run.directory, "figures": run.directory / "figures"})
    talk.document({"run": str(run.directory), "metrics": metrics, "leaky": leaky})


def show_predictions(opened: Any, talk: Talk) -> None:
    """Write a table of predictions into the run; show what the model is worth and where they are."""

    path = opened.save_predictions(opened.task.predict(opened.model, opened.data))
    metrics, leaky = opened.run.metrics(), opened.data.source.leaky
    show_metrics(talk, metrics, leaky)
    files = {"predictions": path, "figures": opened.run.directory / "figures", "run": opened.run.directory}
    show_files(talk, files)
    talk.document({"metrics": metrics, "leaky": leaky} | {name: str(file) for name, file in files.items()})


def plain(value: Any) -> str:
    """An option's value as it is typed."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    return "-" if value in (None, "") else str(value)
