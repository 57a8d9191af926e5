"""How results are printed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_ae.errors import ConfigError

from .talk import Talk, shown


def show_metrics(talk: Talk, metrics: Mapping[str, Any], leaky: str) -> None:
    """A row a measure: the value and its baselines; and what flatters them, if anything does."""
    from lstm_ae.run import measured

    rows = []
    for part, measures in measured(metrics).items():
        for name, metric in measures.items():
            beside = "  ".join(f"{base} {shown(value)}" for base, value in metric["baselines"].items())
            rows.append((part, name, metric["value"], metric["unit"] or "-", beside or "-"))
    talk.table(["part", "measure", "value", "unit", "baseline"], rows)
    if leaky:
        talk.show(f"LEAKY: {leaky}")


def require_png(figure: Path) -> None:
    """Raise where a figure cannot be written to a path."""
    if figure.suffix.lower() != ".png" or figure.is_dir():
        raise ConfigError(f"--figure must be a file that ends in .png. Received: {str(figure)!r}")


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
    best = f"weights of epoch {done['best_epoch']}, {done['parameters']:,} parameters"
    talk.show(f"{epochs} in {done['seconds']:.0f} s{why}, {best}")
    show_files(talk, {"run": run.directory, "figures": run.directory / "figures"})
    talk.document({"run": str(run.directory), "metrics": metrics, "leaky": leaky})


def show_predictions(opened: Any, talk: Talk, verdict: Any = None) -> None:
    """Write a table of predictions into the run; show what the model is worth and where they are."""
    from lstm_ae import experiment

    columns = opened.task.predict(opened.model, opened.data)
    path = experiment.save_predictions(opened, columns)
    metrics, leaky = opened.run.metrics(), opened.data.source.leaky
    show_metrics(talk, metrics, leaky)
    if verdict:
        talk.show(f"Verdict: {verdict}")
        _show_next_day(talk, columns)
    files = {"predictions": path, "figures": opened.run.directory / "figures", "run": opened.run.directory}
    show_files(talk, files)
    judged = {"verdict": verdict._asdict()} if verdict else {}
    talk.document({"metrics": metrics, "leaky": leaky} | judged | {name: str(file) for name, file in files.items()})


def _show_next_day(talk: Talk, columns: Mapping[str, Sequence[Any]], most: int = 20) -> None:
    """The forecasts of days that have not come yet."""
    rows = [row for row in zip(*columns.values(), strict=True) if row[2] is None]
    talk.show(f"The next weekday{f', first {most} of {len(rows)} companies' if len(rows) > most else ''}:")
    talk.table(
        ["symbol", "date", "last known", "forecast"],
        [(s, d, f"{p:,.2f}", f"{f:,.2f}") for s, d, _, p, f in rows[:most]],
    )


def show_multistep(opened: Any, horizon: int | None, talk: Talk) -> None:
    """Forecast many days; show the errors by day ahead, the verdict, and where forecast and figures are."""
    from lstm_ae import experiment
    from lstm_ae.tasks.multistep import multistep

    result = multistep(opened.model, opened.data, horizon)
    table = experiment.save_predictions(opened, result.table, "forecast")
    figures = experiment.draw(opened.run, result.figures)
    talk.show(f"Forecast errors over {result.windows:,} test windows, by day ahead:")
    header = ["step", "mse (scaled)", "persistence", "rmse (USD)", "persistence", "skill (mse)"]
    talk.table(header, [(*step[:-1], f"{step.skill:+.2%}") for step in result.steps])
    talk.show(f"Verdict: {result.verdict}")
    if opened.data.source.leaky:
        talk.show(f"LEAKY: {opened.data.source.leaky}")
    files = {"forecast": table, "figure": figures[0], "figure by day": figures[1], "run": opened.run.directory}
    show_files(talk, files)
    talk.document(
        {
            "steps": [step._asdict() for step in result.steps],
            "verdict": result.verdict._asdict(),
            "windows": result.windows,
            "leaky": opened.data.source.leaky,
        }
        | {name: str(path) for name, path in files.items()}
    )


def plain(value: Any) -> str:
    """An option's value as it is typed."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    return "-" if value in (None, "") else str(value)
