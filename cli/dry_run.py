"""`--dry-run`: estimate the resources of a command instead of running it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_ae.config import Config, Series
from lstm_ae.errors import Code, ConfigError
from lstm_ae.formatting import format_clock, format_size

from . import training
from .backend import import_tensorflow
from .console import Console
from .options import GivenOptions, Parallel, Tracking

if TYPE_CHECKING:
    from lstm_ae.estimate.durations import CommandEstimate
    from lstm_ae.json_types import JsonObject

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
        jobs: int | None = None,
        tracking: Tracking,
        parallel: Parallel,
    ) -> None:
        from lstm_ae.run import require_free

        forbid_resume(resume)
        if fleet:
            raise ConfigError(
                "--dry-run estimates one training. Remove --fleet for that of the common model",
                code=Code.OPTION_NOT_APPLICABLE,
            )
        if parallel.engine != "local":
            raise ConfigError(ENGINE_REFUSED, code=Code.CONFLICTING_OPTIONS)
        if out is not None:
            require_free(out)
        tracking.trackers()  # refuses what the training would refuse
        config = given.config(kind, **({} if data is None else {"data": data}))
        if isinstance(config, Series) and config.data is None:
            raise ConfigError(
                "Pass the table to train on: lstmae series train DATA --dry-run", code=Code.MISSING_OPTION
            )
        import_tensorflow(console)
        config, loaded = training.complete_config(config, console)
        from lstm_ae.estimate.training import estimate_training
        from lstm_ae.run import command_line

        console.say("timing some steps ...")
        show_estimate(estimate_training(config, loaded, command=command_line()), console)

    return dry_run


def show_fold_estimate(
    console: Console, out: Path | None, estimate: Callable[[Callable[..., None]], "CommandEstimate"]
) -> None:
    """Estimate a command that trains on several folds.

    Args:
        console: the output.
        out: the directory for the results; if it exists, the command would resume there, which takes less.
        estimate: returns the estimate; called with a function that shows the progress of reading.
    """
    if out is not None and out.exists():
        raise ConfigError(
            f"--dry-run estimates a new run, but --out {str(out)!r} exists. Remove one of the two options",
            code=Code.CONFLICTING_OPTIONS,
        )
    import_tensorflow(console)
    console.say("timing trainings and tests ...")
    with console.progress() as bar:
        result = estimate(bar.reading)
    show_estimate(result, console)


def forbid_resume(resume: bool) -> None:
    """Raise if `--resume` is given: the estimate is for a new command."""
    if resume:
        raise ConfigError(
            "--dry-run estimates a new run, but --resume continues one. Remove one of the two options",
            code=Code.CONFLICTING_OPTIONS,
        )


def show_estimate(estimate: "CommandEstimate", console: Console) -> None:
    """Show an estimate."""
    console.document(describe_estimate(estimate, console))


def describe_estimate(estimate: "CommandEstimate", console: Console) -> "JsonObject":
    """Show an estimate and return its JSON document."""
    rows = [(part.name, part.duration.usual, part.duration.slowest, part.how) for part in estimate.parts]
    whole = estimate.duration
    console.table(["part", "seconds", "slowest", "how"], rows)
    console.show(f"duration: {format_clock(whole.usual)}, at most {format_clock(whole.slowest)}")
    memory = "not known on this system" if estimate.memory is None else format_size(estimate.memory)
    console.show(f"memory: {memory}")
    console.show(
        f"disk: {format_size(estimate.disk)} at the end, and {format_size(estimate.meanwhile)} more until then"
    )
    for note in estimate.notes:
        console.show(f"  {note}")
    console.show("No training was completed, and no files were left.")
    return {
        "seconds": whole.usual,
        "seconds_slowest": whole.slowest,
        "parts": [
            {"name": p.name, "how": p.how, "seconds": p.duration.usual, "seconds_slowest": p.duration.slowest}
            for p in estimate.parts
        ],
        "memory_bytes": estimate.memory,
        "disk_bytes": estimate.disk,
        "disk_bytes_meanwhile": estimate.meanwhile,
        "notes": list(estimate.notes),
    }
