"""Training and finding trained runs, as all commands of the studies do it."""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from lstm_ae.config import Config, Series, Snp, task_of
from lstm_ae.errors import ConfigError
from lstm_ae.options import declared, flag

from .backend import import_tensorflow
from .options import Given
from .results import plain
from .stops import Interrupted
from .talk import Talk


def load(config: Config, talk: Talk) -> Any:
    """Load a study's data and say what it is."""
    return settled(config, talk)[1]


def settled(config: Config, talk: Talk) -> tuple[Config, Any]:
    """A config that leaves nothing open, and its data; says what that is."""
    from lstm_ae.tasks import task

    if isinstance(config, Series):
        from lstm_ae.tasks.series.settling import settle

        bar = talk.progress()
        config, data = settle(config, bar.reading)
        bar.clear()
    else:
        data = task(task_of(config)).load(config)
    told(data, talk)
    return config, data


def told(data: Any, talk: Talk) -> None:
    """Say what data is."""
    talk.say(f"data: {data.source.text} (licence: {data.source.licence})")
    for note in data.source.notes:
        talk.say(f"  {note}")
    if data.source.leaky:
        talk.say(f"  LEAKY: {data.source.leaky}")


def train(config: Config, talk: Talk, *, out: Path | None, data: Any = None, tensorboard: bool = False) -> Any:
    """Train a new run; returns it."""
    from lstm_ae import experiment
    from lstm_ae.about import command_line
    from lstm_ae.run import require_free

    if out is not None:
        require_free(out)
    import_tensorflow(talk)
    data = load(config, talk) if data is None else data
    with _Guard(talk, task_of(config)) as guard:
        return experiment.train(
            config,
            data,
            out=out,
            command=command_line(),
            notify=guard.progress,
            started=guard.started,
            tensorboard=tensorboard,
        )


def resume(given: Given, kind: type[Config], talk: Talk, *, out: Path | None, tensorboard: bool = False) -> Any:
    """Continue an unfinished run: the one at `out`, or the latest of the study."""
    from lstm_ae import experiment
    from lstm_ae.run import all_runs, open_run

    name = task_of(kind())
    if out is not None:
        run = open_run(out, name)
    else:
        unfinished = [run for run in all_runs() if not run.finished and run.about()["task"] == name]
        if not unfinished:
            raise ConfigError(f"There is no unfinished {name} run in 'runs'; give its directory with --out")
        run = unfinished[0]
    if run.finished:
        raise ConfigError(
            f"The run {str(run.directory)!r} is finished; there is nothing to resume. "
            "Measure it with evaluate, or train another"
        )
    config = run.config()
    require_equal(given, config, f"--resume continues {str(run.directory)!r}", free=("data",))
    import_tensorflow(talk)
    data = load(kind.chosen(config.to_dict(), given), talk)
    with _Guard(talk, name) as guard:
        return experiment.resume(
            run, config, data, notify=guard.progress, started=guard.started, tensorboard=tensorboard
        )


def obtain(given: Given, kind: type[Config], talk: Talk, *, run: str | None, retrain: bool, **fixed: Any) -> Any:
    """A trained run, opened: the one named, else the latest of this configuration and data, else a new one."""
    from lstm_ae.opening import open_trained
    from lstm_ae.run import find

    if run is not None:
        found = _named(given, kind, talk, run, retrain, **fixed)
        return open_trained(found, load(kind.chosen(found.config().to_dict(), given), talk))
    config = given.config(kind, **fixed)
    import_tensorflow(talk)
    data = load(config, talk)
    same = None if retrain else find(config, data.source)
    known = f"run: {same.directory} (same configuration and data)" if same else "run: none of this configuration yet"
    talk.say("run: a new one" if retrain else known)
    return open_trained(same or train(config, talk, out=None, data=data), data)


def obtain_for(given: Given, kind: type[Config], talk: Talk, *, run: str | None, retrain: bool, **fixed: Any) -> Any:
    """Like `obtain`; but data that is not what the named run was trained on is new data to apply it to.

    The data opened then has everything in its test part, and no training part.
    """
    from lstm_ae.data.prices import holds_more
    from lstm_ae.errors import DataError
    from lstm_ae.opening import open_fresh, open_trained

    if run is None or not given.get("data"):
        return obtain(given, kind, talk, run=run, retrain=retrain, **fixed)
    found = _named(given, kind, talk, run, retrain, **fixed)
    before = found.config()
    config = kind.chosen(before.to_dict(), given)
    assert isinstance(before, Snp)
    assert isinstance(config, Snp)
    moved = before.data is None or Path(given["data"]).resolve() != Path(before.data).resolve()
    with suppress(DataError, ConfigError):  # such as the symbols that the run was trained on
        data = load(config, Talk(False, True, False))
        # Another file that begins as the old one did can go on where the run's own options ended it.
        if not (moved and holds_more(config)):
            opened = open_trained(found, data)
            told(opened.data, talk)
            return opened
    opened = open_fresh(found, config)
    told(opened.data, talk)
    talk.say("  new to the run: all its days are forecast")
    return opened


def obtain_model(
    given: Given, kind: type[Config], talk: Talk, *, run: str | None, retrain: bool
) -> tuple[Any, Any, Any]:
    """A trained run with its config and model. The data is loaded only where no run is named."""
    if run is not None:
        found = _named(given, kind, talk, run, retrain)
        return found, found.config(), found.model()
    opened = obtain(given, kind, talk, run=None, retrain=retrain)
    return opened.run, opened.config, opened.model


def _named(given: Given, kind: type[Config], talk: Talk, run: str, retrain: bool, **fixed: Any) -> Any:
    """The finished run of this name, which is what the options say."""
    from lstm_ae.run import open_run

    if retrain:
        raise ConfigError("--retrain and --run exclude each other; give one of them")
    found = open_run(run, task_of(kind()))
    goal = fixed.get("goal")
    if goal and getattr(found.config(), "goal", goal) != goal:
        does, verb = ("reconstructs", "reconstruct") if goal == "predict" else ("forecasts", "predict")
        where = shlex.quote(str(found.directory))
        raise ConfigError(
            f"{str(found.directory)!r} {does} prices; use lstmae snp {verb} --run {where}, or give another run"
        )
    require_equal(given, found.config(), f"{str(found.directory)!r} is trained", free=("data",), **fixed)
    found.metrics()
    import_tensorflow(talk)
    talk.say(f"run: {found.directory}")
    return found


def require_equal(given: Given, config: Config, why: str, free: tuple[str, ...], **fixed: Any) -> None:
    """Raise where an option was typed that a run has settled otherwise."""
    fields = {field.name: field for field in declared(type(config))}
    typed = given.config(type(config), **fixed).to_dict() if given.file or given.preset else given | fixed
    for name, value in typed.items():
        settled = getattr(config, name)
        asked = fields[name].option.aliases.get(str(value).lower(), value)
        if name not in free and (tuple(asked) if isinstance(asked, list) else asked) != settled:
            was = f"with {flag(name)} {plain(settled)}" if settled not in (None, "", ()) else f"without {flag(name)}"
            raise ConfigError(f"{why} {was}. Received: {plain(value)}. Leave it out, or train a new run")


class _Guard:
    """Shows how far a training is, and turns its interruption into the command that goes on with it."""

    def __init__(self, talk: Talk, task: str) -> None:
        self.talk, self.task, self.progress = talk, task, talk.progress()
        self.run: Any = None

    def started(self, run: Any) -> None:
        self.run = run
        self.talk.say(f"training in {run.directory}")

    def __enter__(self) -> "_Guard":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.progress.clear()
        if self.run is not None and isinstance(error, KeyboardInterrupt):
            directory = shlex.quote(str(self.run.directory))
            raise Interrupted(
                f"Interrupted; the state is saved. Go on with: lstmae {self.task} train --resume --out {directory}"
            ) from None
