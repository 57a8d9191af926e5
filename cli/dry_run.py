"""`--dry-run`: estimate the resources of a command instead of running it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_ae.config import Config, Series
from lstm_ae.errors import Code, ConfigError
from lstm_ae.formatting import format_clock, format_count, format_size

from . import training
from .backend import import_tensorflow
from .console import Console
from .options import EngineOptions, GivenOptions, refuse_options

if TYPE_CHECKING:
    from lstm_ae.data.windows import Data

ENGINE_REFUSED = "--dry-run times this machine and needs --engine local. Remove one of the two options"


def show_training_estimate(kind: type[Config]) -> Callable[..., None]:
    """Return the dry run of `train` of a study or of `series train`."""

    def dry_run(
        *,
        given: GivenOptions,
        console: Console,
        out: Path | None,
        resume: bool,
        data: str | None = None,
        fleet: bool = False,
        engine_options: EngineOptions | None = None,
    ) -> None:
        from lstm_ae.run import Run

        forbid_resume(resume)
        if fleet:
            raise ConfigError(
                "--dry-run estimates one training. Remove --fleet for that of the common model",
                code=Code.OPTION_NOT_APPLICABLE,
            )
        if engine_options is not None:
            refuse_options(engine_options.given, "a single model")
        if out is not None:
            Run(out).require_free()
        config = given.config(kind, **({} if data is None else {"data": data}))
        if isinstance(config, Series) and config.data is None:
            raise ConfigError(
                "Pass the table to train on: lstmae series train DATA --dry-run", code=Code.MISSING_OPTION
            )
        import_tensorflow(console)
        config, loaded = training.complete_config(config, console)
        trainings: float = 1 + getattr(config, "refit", False)
        if not (config.starts_linear and loaded.classes):
            show_estimate(config, loaded, console, trainings)
            return
        from lstm_ae.studies.start import FOLDS

        note = f"{FOLDS} further networks compare the classifier with its linear start, up to the best epoch"
        show_estimate(config, loaded, console, trainings + FOLDS / config.networks, note)

    return dry_run


def show_fold_estimate(
    console: Console, out: Path | None, load: Callable[[Callable[..., None]], "tuple[Config, Data, int]"]
) -> None:
    """Estimate a command that trains on several folds.

    Args:
        console: the output.
        out: the directory for the results; if it exists, the command would resume there, which takes less.
        load: returns the config and the data of the largest training, and the number of trainings; called with a
            function that shows the progress of reading.
    """
    if out is not None and out.exists():
        raise ConfigError(
            f"--dry-run estimates a new run, but --out {str(out)!r} exists. Remove one of the two options",
            code=Code.CONFLICTING_OPTIONS,
        )
    import_tensorflow(console)
    with console.progress() as bar:
        config, data, trainings = load(bar.reading)
    show_estimate(config, data, console, trainings)


def forbid_resume(resume: bool) -> None:
    """Raise if `--resume` is given: the estimate is for a new command."""
    if resume:
        raise ConfigError(
            "--dry-run estimates a new run, but --resume continues one. Remove one of the two options",
            code=Code.CONFLICTING_OPTIONS,
        )


def show_estimate(config: Config, data: "Data", console: Console, trainings: float = 1, *notes: str) -> None:
    """Time a few steps and show the estimate of some equal trainings in sequence."""
    from lstm_ae.estimate import estimate_training

    console.say("timing some steps ...")
    estimate = estimate_training(config, data, trainings)
    work = estimate.work
    if 0 < config.patience < config.epochs:
        notes = (f"training ends earlier after {config.patience} epochs without a better validation loss", *notes)
    notes = (*notes, "evaluation and figures are not included")
    sizes = f"{format_count(work.epochs, 'epoch')} of {format_count(work.steps, 'step')}"
    console.show(
        f"{format_count(round(trainings), 'training')} of {format_count(work.networks, 'network')}: "
        f"{sizes}, {1000 * estimate.step:.3g} ms each"
    )
    memory = "not known on this system" if estimate.memory is None else format_size(estimate.memory)
    console.show(f"duration: {format_clock(estimate.seconds)}")
    console.show(f"memory: {memory}")
    for note in notes:
        console.show(f"  {note}")
    console.document(
        {"seconds": estimate.seconds, "trainings": trainings, **work._asdict(), "step_seconds": estimate.step}
        | {"memory_bytes": estimate.memory, "notes": list(notes)}
    )
