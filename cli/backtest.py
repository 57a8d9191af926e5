"""Run and show backtests, for `snp backtest` and `series backtest`."""

import secrets
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_ae.formatting import format_count, format_names, format_skill
from lstm_ae.parallel import Engine
from lstm_ae.training.observer import FoldObserver

from .backend import import_tensorflow
from .console import Console, JobCounter
from .errors import resumable
from .results import show_files, show_verdicts

if TYPE_CHECKING:
    from lstm_ae.backtest.folds import Fold
    from lstm_ae.config import Series, Snp
    from lstm_ae.training.observer import Progress

# Fields of a fold with one value per forecast, which only its file contains.
FOLD_DETAILS = ("moments", "errors", "counts", "rounding")


class FoldProgress(JobCounter, FoldObserver):
    """Progress of trainings one after another: a line at the start of each, and a progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, "training", "folds")
        self.lines: set[str] = set()

    def progress(self, title: str, progress: "Progress") -> None:
        """Show the progress of the training with this title."""
        self.say_once(title)
        self.bar(progress)

    def finished(self, fold: "Fold") -> None:
        """Print the verdict of a fold."""
        text = fold.evaluation["verdict"]["test"]["text"]
        self.say_once(f"fold {fold.number}: {fold.first} to {fold.last}: {text}")

    def say_once(self, line: str) -> None:
        """Print a line that was not printed before."""
        if line not in self.lines:
            self.lines.add(line)
            self.bar.clear()
            self.console.say(line)


def show_backtest(
    console: Console,
    out: Path | None,
    folds: int,
    jobs: int,
    config: "Series | Snp",
) -> None:
    """Run a backtest; show each fold and the verdicts over all of them.

    Args:
        console: the output.
        out: directory for the results; None for a new one.
        folds: number of folds.
        jobs: number of folds that are trained at once.
        config: config of a forecaster.
    """
    import_tensorflow(console)
    from lstm_ae.backtest.folds import NAIVE, run_backtest
    from lstm_ae.backtest.plans import plan_backtest
    from lstm_ae.evaluation import Evaluation
    from lstm_ae.forecasting.baselines import LINEAR_NAME

    progress = FoldProgress(console)
    folder = out or Path("runs") / f"backtest-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    with resumable(
        "finished folds", f"Resume with the same command and --out {shlex.quote(str(folder))}", progress.clear
    ):
        plan = plan_backtest(config, folds, progress.bar.reading)
        for line in plan.notes:
            progress.say_once(line)
        result = run_backtest(plan, folds, folder, progress, Engine(jobs=jobs))
    models, linears = ([fold.skill(name, NAIVE) for fold in result.folds] for name in ("model", LINEAR_NAME))
    show_verdicts(console, result.verdicts, NAIVE)
    # As printed: a model whose best epoch is epoch 0 equals the linear regression up to rounding.
    better = sum(round(model, 4) > round(linear, 4) for model, linear in zip(models, linears, strict=True))
    span = f"{format_skill(min(models))} to {format_skill(max(models))}"
    console.show(
        f"skill over {result.verdicts[NAIVE].baseline} by fold: {span}; better than a linear regression in "
        f"{better} of {format_count(len(models), 'fold')}"
    )
    for fold in result.folds:
        if names := format_names(fold.left_out):
            console.show(f"Left out of fold {fold.number}, without a window to forecast from: {names}")
    for note in result.notes:
        console.show(note)
    show_files(console, {"folder": folder})
    console.document(
        {
            "folds": [
                {name: value for name, value in fold._asdict().items() if name not in FOLD_DETAILS}
                for fold in result.folds
            ],
            "verdict": Evaluation({}, result.verdicts).as_json()["verdict"],
            "notes": result.notes,
            "folder": folder,
        }
    )
