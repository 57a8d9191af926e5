"""How results are printed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .talk import Talk


def show_metrics(talk: Talk, metrics: Mapping[str, Any]) -> None:
    """A row a measure: the value and its baselines."""
    rows = []
    for part, measures in metrics.items():
        if part == "training":
            continue
        for name, metric in measures.items():
            beside = "  ".join(f"{base} {value:.4g}" for base, value in metric["baselines"].items())
            rows.append((part, name, metric["value"], metric["unit"] or "-", beside or "-"))
    talk.table(["part", "measure", "value", "unit", "baseline"], rows)


def show_files(talk: Talk, files: Mapping[str, Path]) -> None:
    """A line a file: what it is and where."""
    width = max(len(name) for name in files) + 1
    for name, path in files.items():
        talk.show(f"{name + ':':<{width}} {path}")


def show_training(talk: Talk, run: Any) -> None:
    """What a training came to."""
    metrics = run.metrics()
    show_metrics(talk, metrics)
    done = metrics["training"]
    why = f" ({done['stopped']})" if done["stopped"] else ""
    talk.show(
        f"{done['epochs']} epochs in {done['seconds']:.0f} s{why}, weights of epoch {done['best_epoch']}, "
        f"{done['parameters']:,} parameters"
    )
    show_files(talk, {"run": run.directory, "figures": run.directory / "figures"})
    talk.document({"run": str(run.directory), "metrics": metrics})
