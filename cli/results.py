"""Show the results of a command, and check where they can be written."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_ae.errors import ConfigError, InsufficientSkillError
from lstm_ae.formatting import format_count, format_epoch, format_heading, format_skill, format_value
from lstm_ae.installation import install_hint

from .console import Console

TABLE_SUFFIXES = (".csv", ".parquet")

# Columns of a table that are told of one by one.
MAX_SHOWN_COLUMNS = 20


def show_metrics(console: Console, metrics: Mapping[str, Any], leaky: str) -> None:
    """Show a table of measures with their baselines, the verdicts, and a warning about leakage."""
    from lstm_ae.run import measured_parts

    rows = []
    for part, measures in measured_parts(metrics).items():
        for name, metric in measures.items():
            beside = "  ".join(f"{base} {format_value(value)}" for base, value in metric["baselines"].items())
            rows.append((part, name, metric["value"], metric["unit"] or "-", beside or "-"))
    console.table(["part", "measure", "value", "unit", "baseline"], rows)
    _show_columns(console, metrics.get("columns", {}))
    for part, verdict in metrics.get("verdict", {}).items():
        console.show(f"Verdict on {part}: {verdict['text']}")
    if leaky:
        console.show(f"LEAKY: {leaky}")


def show_verdicts(console: Console, verdicts: Mapping[str, Any], naive: str) -> None:
    """Show the verdicts of a backtest on the best baseline and on the naive one."""
    first = next(iter(verdicts))
    told = dict.fromkeys((first, naive))
    console.show(f"Verdict over all folds: {'; '.join(str(verdicts[name]) for name in told)}")


def _show_columns(console: Console, columns: Mapping[str, Any]) -> None:
    """Show the skill of a forecast by column."""
    rows = [(part, *row) for part, found in columns.items() for row in list(found.items())[:MAX_SHOWN_COLUMNS]]
    if not rows:
        return
    most = max(map(len, columns.values()))
    console.show(
        "Skill by column" + (f", the first {MAX_SHOWN_COLUMNS} of {most:,}:" if most > MAX_SHOWN_COLUMNS else ":")
    )
    header = ["part", "column", "skill", "linear regression", "all other columns", "baseline"]
    names = ("skill", "linear", "others")
    console.table(
        header,
        [(part, format_heading(k), *(format_skill(of[n]) for n in names), of["baseline"]) for part, k, of in rows],
    )


def check_skill(name: str, skill: float | None, required: float | None) -> None:
    """Raise `InsufficientSkillError` if a skill is below the one of `--require-skill`, or unknown."""
    if required is not None and not (skill is not None and skill >= required):
        shown = "not known" if skill is None else format_skill(skill)
        raise InsufficientSkillError(f"{name} is {shown}, less than --require-skill {required:g}")


def require_png(figure: Path) -> None:
    """Raise where a figure cannot be written to a path."""
    if figure.suffix.lower() != ".png" or figure.is_dir():
        raise ConfigError(f"--figure must be a file that ends in .png. Received: {str(figure)!r}")


def require_table(name: str, path: Path) -> None:
    """Raise where a table cannot be written to the path that the option `name` gives."""
    if path.suffix not in TABLE_SUFFIXES:
        raise ConfigError(f"{name} must end in .csv or .parquet. Received: {str(path)!r}")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(f"{name} {path} needs pyarrow: {install_hint('parquet')}, or give .csv")


def show_note(remarks: Sequence[str], console: Console) -> None:
    """Print notes about a table."""
    for text in remarks:
        console.say(f"note: {text}")


def show_files(console: Console, files: Mapping[str, Path]) -> None:
    """Show the paths of files."""
    width = max(len(name) for name in files) + 1
    for name, path in files.items():
        console.show(f"{name + ':':<{width}} {path}")


def show_training(console: Console, run: Any) -> None:
    """Show the result of a training."""
    metrics, leaky = run.metrics(), run.about()["data"]["leaky"]
    show_metrics(console, metrics, leaky)
    done = metrics["training"]
    why = f" ({done['stopped']})" if done["stopped"] else ""
    best = f"weights of {format_epoch(done['best_epoch'])}, {done['parameters']:,} parameters"
    console.show(f"{format_count(done['epochs'], 'epoch')} in {done['seconds']:.0f} s{why}, {best}")
    if "note" in done:
        console.show(done["note"])
    show_files(console, {"run": run.directory, "figures": run.directory / "figures"})
    console.document({"run": str(run.directory), "metrics": metrics, "leaky": leaky})


def show_predictions(opened: Any, console: Console) -> None:
    """Write a table of predictions into the run; show what the model is worth and where they are."""

    path = opened.save_predictions(opened.task.predict(opened.model, opened.data))
    metrics, leaky = opened.run.metrics(), opened.data.source.leaky
    show_metrics(console, metrics, leaky)
    files = {"predictions": path, "figures": opened.run.directory / "figures", "run": opened.run.directory}
    show_files(console, files)
    console.document({"metrics": metrics, "leaky": leaky} | {name: str(file) for name, file in files.items()})
