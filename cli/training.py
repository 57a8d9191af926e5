"""Train, resume, and open runs of a study or of a table."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_ae.config import DATA_PATHS, Config, Series, Snp, task_of
from lstm_ae.config.options import flag_name
from lstm_ae.config.snp import READING_OPTIONS
from lstm_ae.errors import Code, ConfigError
from lstm_ae.training.observer import Progress, TrainingObserver

from .backend import import_tensorflow, show_library_log
from .console import Console
from .errors import Interrupted
from .options import GivenOptions, refuse_options, require_directory
from .signals import defer_signals

if TYPE_CHECKING:
    from lstm_ae.data.windows import Data
    from lstm_ae.experiment import RunWithData
    from lstm_ae.run import Run


def complete_config(config: Config, console: Console) -> tuple[Config, "Data"]:
    """Return the config with all options set, and its data; print a description of the data."""
    from lstm_ae.studies import load_study
    from lstm_ae.studies.networks import choose_networks

    if isinstance(config, Series):
        from lstm_ae.studies.series.defaults import load_complete

        with console.progress() as bar:
            config, data = load_complete(config, bar.reading)
    else:
        config, data = choose_networks(config, load_study(config).load(config))
    describe_data(data, console)
    if isinstance(config, Series) and config.task == "anomaly" and not config.normal:
        marked = "" if config.label_col is None else " except those that --label-col marks"
        console.say(f"  normal: all rows of the training and validation splits count as normal{marked} (see --normal)")
    return config, data


def describe_data(data: "Data", console: Console) -> None:
    """Print a description of the data."""
    console.say(f"data: {data.source.text} (license: {data.source.license})")
    for note in data.source.notes:
        console.say(f"  {note}")
    if data.source.leaky:
        console.say(f"  LEAKY: {data.source.leaky}")


def train(
    config: Config,
    console: Console,
    *,
    out: Path | None,
    data: "Data | None" = None,
) -> "Run":
    """Train and return a new run."""
    from lstm_ae import experiment
    from lstm_ae.run import Run, command_line

    if out is not None:
        Run(out).require_free()
    import_tensorflow(console)
    if data is None:
        config, data = complete_config(config, console)
    with _TrainingGuard(console, task_of(config)).watch() as guard:
        return experiment.train(
            config,
            data,
            out=out,
            command=command_line(),
            observer=guard,
        )


def resume(
    given: GivenOptions,
    kind: type[Config],
    console: Console,
    *,
    out: Path | None,
) -> "Run":
    """Continue the unfinished run of a study at `out`."""
    from lstm_ae import experiment
    from lstm_ae.run import open_run

    name = task_of(kind())
    run = open_run(require_directory(out), name)
    if run.finished:
        raise ConfigError(
            f"The run {str(run.directory)!r} is finished; there is nothing to resume. Evaluate it, or train another",
            code=Code.NOT_RESUMABLE,
        )
    config = run.config()
    refuse_config(given, "a run that resumes", free=DATA_PATHS)
    import_tensorflow(console)
    _, data = complete_config(kind.merge(config.to_dict(), given), console)
    with _TrainingGuard(console, name).watch() as guard:
        return experiment.resume(run, config, data, observer=guard)


def obtain_run(
    given: GivenOptions, kind: type[Config], console: Console, run: str | None, **fixed: str
) -> "RunWithData":
    """Return an opened run: the named one, else the latest with this config and data, else a new one."""
    from lstm_ae.experiment import open_trained
    from lstm_ae.run import find_run

    if run is not None:
        named = _open_named_run(given, kind, console, run, **fixed)
        _, data = complete_config(kind.merge(named.config().to_dict(), given), console)
        return open_trained(named, data)
    config = given.config(kind, **fixed)
    show_library_log(console)
    config, data = complete_config(config, console)
    same = find_run(config, data.source)
    console.say(
        f"run: {same.directory} (same configuration and data)" if same else "run: new (no run has this configuration)"
    )
    return open_trained(same or train(config, console, out=None, data=data), data)


def obtain_run_for_data(
    given: GivenOptions, kind: type[Config], console: Console, run: str | None, **fixed: str
) -> "RunWithData":
    """Return an opened run as `obtain_run` does, or the named run opened on other data than that of its training.

    The data opened then has everything in its test split, and no training split.
    """
    from lstm_ae.errors import DataError
    from lstm_ae.experiment import open_on_new_data, open_trained
    from lstm_ae.studies import load_study

    if run is None or not given.get("data"):
        return obtain_run(given, kind, console, run, **fixed)
    named = _open_named_run(given, kind, console, run, **fixed)
    trained_config = named.config()
    config = kind.merge(trained_config.to_dict(), given)
    assert isinstance(trained_config, Snp)
    assert isinstance(config, Snp)
    if trained_config.data is not None and Path(given["data"]).resolve() == Path(trained_config.data).resolve():
        with suppress(DataError, ConfigError):  # The rows of the file have changed.
            opened = open_trained(named, load_study(config).load(config))
            describe_data(opened.data, console)
            return opened
    opened = open_on_new_data(named, config)
    describe_data(opened.data, console)
    return opened


def obtain_model(
    given: GivenOptions, kind: type[Config], console: Console, run: str | None
) -> tuple["Run", Config, Any]:
    """Return a trained run with its config and model; load the data only if no run is named."""
    if run is not None:
        named = _open_named_run(given, kind, console, run)
        return named, named.config(), named.network()
    opened = obtain_run(given, kind, console, run)
    return opened.run, opened.config, opened.model


def _open_named_run(given: GivenOptions, kind: type[Config], console: Console, run: str, **fixed: str) -> "Run":
    """Return the named finished run; refuse options that its training has fixed."""
    opened = open_finished_run(run, console, task_of(kind()))
    goal = fixed.get("goal")
    if goal and getattr(opened.config(), "goal", goal) != goal:
        does, verb = ("reconstructs", "reconstruct") if goal == "predict" else ("forecasts", "predict")
        directory = shlex.quote(str(opened.directory))
        raise ConfigError(
            f"{str(opened.directory)!r} {does} prices; use lstmae snp {verb} --run {directory}, or pass another run",
            code=Code.RUN_MISMATCH,
        )
    # Another table may need other reading options.
    refuse_config(given, "a trained run", free=("data", *(READING_OPTIONS if given.get("data") else ())))
    console.say(f"run: {opened.directory}")
    return opened


def refuse_config(given: GivenOptions, scope: str, free: tuple[str, ...]) -> None:
    """Refuse options that a finished or unfinished training has fixed, except the free ones."""
    given_options = {flag_name(name): True for name in given if name not in free}
    refuse_options(given_options | {"--config": given.file, "--preset": given.preset}, scope)


def open_finished_run(run: str, console: Console, task: str = "series") -> "Run":
    """Return a finished run of a task, and show the log of the library from now on."""
    from lstm_ae.run import open_run

    opened = open_run(run, task)
    opened.metrics()
    show_library_log(console)
    return opened


class _TrainingGuard(TrainingObserver):
    """Show the progress of a training; on an interruption, raise an error with the command that resumes it."""

    def __init__(self, console: Console, task: str) -> None:
        self.console, self.task, self.bar = console, task, console.progress()
        self.directory: Path | None = None
        # The signals that arrive during the steps.
        self.signals: list[int] = []

    def on_start(self, directory: Path) -> None:
        self.directory = directory
        self.console.say(f"training in {directory}")

    @contextmanager
    def on_steps(self) -> Iterator[None]:
        with defer_signals() as self.signals:
            yield

    def on_progress(self, progress: Progress) -> None:
        self.bar(progress)
        if self.signals:
            raise KeyboardInterrupt

    def on_folds(self, folds: int) -> None:
        self.console.say(f"comparing with the linear start: a network on each of {folds} folds")

    @contextmanager
    def watch(self) -> Iterator["_TrainingGuard"]:
        """Return a context for the training, at whose end the live line is erased."""
        try:
            yield self
        except KeyboardInterrupt:
            if self.directory is None:
                raise
            from lstm_ae.run import Run

            run = Run(self.directory)
            if run.finished:
                raise Interrupted(f"Interrupted; the run {str(self.directory)!r} is complete") from None
            checkpoint = "a checkpoint is saved" if run.state.exists() else "there is no checkpoint yet"
            command = f"lstmae {self.task} train --resume --out {shlex.quote(str(self.directory))}"
            raise Interrupted(f"Interrupted; {checkpoint}. Resume with: {command}") from None
        finally:
            self.bar.clear()
