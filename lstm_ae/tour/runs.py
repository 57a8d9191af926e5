"""From the parts to their runs: those that exist in the tour's folder, and those that are trained now.

A run counts where its config and the hash of its data are those that are wanted; where the data lies does not matter.
So the same command goes on where it was stopped, with the very training that it was stopped in; with other versions
of this package, or of those below it, that one training is begun anew.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lstm_ae.config import Config, task_of
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.files import claim
from lstm_ae.run import Run, config_in_record, installed_versions, read_record
from lstm_ae.tour.claims import TourPart
from lstm_ae.tour.commands import training_command
from lstm_ae.tour.measurements import STEPS, measure_multistep

# The file that marks a tour's folder.
FILE = "tour.json"

THERE, UNFINISHED, OUTDATED, MISSING = "there", "unfinished", "outdated", "missing"

STATES = (THERE, UNFINISHED, OUTDATED, MISSING)

Load = Callable[[Config], Data]


class TourTraining(NamedTuple):
    """A training of the tour.

    Args:
        part: the first part that needs it.
        setting: its name there.
        config: with its seed.
        directory: where its run is, or will be.
        state: `THERE`, `UNFINISHED`, `OUTDATED` (unfinished, of other versions) or `MISSING`.
        rolled: whether a forecast of many days is measured as well.
        drawn: whether figures are.
    """

    part: str
    setting: str
    config: Config
    directory: Path
    state: str
    rolled: bool
    drawn: bool

    @property
    def command(self) -> str:
        """What trains it by hand."""
        return training_command(self.config, self.directory)


class TourProgress(NamedTuple):
    """Where a journey stands: which of how many trainings; `progress` is one of `lstm_ae.training.loop`, or None."""

    leg: TourTraining
    number: int
    of: int
    progress: Any


def open_tour(folder: Path, *, make: bool = True) -> None:
    """Make a tour's folder, or find it; raises `ConfigError` where it is something else.

    Args:
        make: False makes nothing, and only raises.
    """
    if make or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        claim(folder, FILE, {"tour": 1})


def setting_configs(part: TourPart, setting: str, seeds: Iterable[int]) -> Iterator[Config]:
    """Every config of a setting with every seed, seed by seed."""
    (chosen,) = (each for each in part.settings if each.name == setting)
    for seed in seeds:
        for config in chosen.configs:
            yield type(config).from_dict(config.to_dict() | {"seed": seed})


def plan_tour(
    parts: Sequence[TourPart], seeds: Sequence[int], folder: Path, sha256: Callable[[Config], str]
) -> list[TourTraining]:
    """All trainings in their order, each once, and what of them there is in a folder.

    Args:
        sha256: the hash of a config's data.
    """
    wanted: dict[str, TourTraining] = {}
    there = _there(folder)
    taken = {run.directory for run in there.values()}
    for part in parts:
        for setting in part.settings:
            for config in setting_configs(part, setting.name, seeds):
                key = identity(config, sha256(config))
                rolled = setting.name in part.rolled
                drawn = setting.name == part.shown and config.seed == seeds[0]
                if key in wanted:
                    leg = wanted[key]
                    wanted[key] = leg._replace(rolled=leg.rolled or rolled, drawn=leg.drawn or drawn)
                    continue
                run = there.get(key)
                directory = run.directory if run else _free(folder, part.key, config, taken)
                taken.add(directory)
                state = MISSING if run is None else _state(run)
                wanted[key] = TourTraining(part.key, setting.name, config, directory, state, rolled, drawn)
    return list(wanted.values())


def identity(config: Config, sha256: str) -> str:
    """What must be equal for a run to count: all of its config but where the data lies, and the data."""
    return repr((task_of(config), {k: v for k, v in config.to_dict().items() if k != "data"}, sha256))


def run_tour(legs: Sequence[TourTraining], load: Load, notify: Callable[[TourProgress], None]) -> list[str]:
    """Train what is missing or outdated, go on with what is unfinished, and measure the forecasts of many days.

    Args:
        notify: called before each training, and with its progress.

    Returns:
        A sentence for each training that diverged.
    """
    todo = [leg for leg in legs if not _done(leg)]
    said = []
    for number, leg in enumerate(todo, 1):
        start = TourProgress(leg, number, len(todo), None)
        notify(start)

        def tell(progress: Any, start: TourProgress = start) -> None:
            notify(start._replace(progress=progress))

        try:
            _train(leg, load, tell)
        except DivergedError as error:
            said.append(f"{leg.setting}, seed {leg.config.seed}: {error}")
    return said


def _done(leg: TourTraining) -> bool:
    run = Run(leg.directory)
    return run.finished and (not leg.rolled or _steps(run).is_file()) and (not leg.drawn or _figures(run))


def _figures(run: Run) -> bool:
    return any((run.directory / "figures").glob("*.png"))


def _steps(run: Run) -> Path:
    return run.directory / f"{STEPS}.csv"


def _train(leg: TourTraining, load: Load, notify: Callable[[Any], None]) -> None:
    from lstm_ae import experiment
    from lstm_ae.experiment import open_trained

    data, run, diverged = load(leg.config), Run(leg.directory), None
    try:
        if leg.state == OUTDATED and not run.finished:
            shutil.rmtree(run.directory)
        if leg.state == UNFINISHED:
            experiment.resume(run, leg.config, data, notify=notify)
        elif not run.finished:
            experiment.train(leg.config, data, out=leg.directory, command=leg.command, notify=notify, figures=leg.drawn)
    except DivergedError as error:
        if not run.finished:
            raise
        diverged = error
    if leg.drawn and not _figures(run):
        open_trained(run, data).plot()
    if leg.rolled:
        measure_multistep(open_trained(run, data))
    if diverged:
        raise diverged


def _state(run: Run) -> str:
    if run.finished:
        return THERE
    # Such a training state is refused: what came of it would be of neither version.
    return UNFINISHED if run.about().get("versions") == installed_versions() else OUTDATED


def _there(folder: Path) -> dict[str, Run]:
    """The runs in a folder by their identity; a finished one before an unfinished one, what is unreadable left out."""
    found: dict[str, Run] = {}
    for path in sorted(folder.glob("*/config.json")):
        run = Run(path.parent)
        try:
            about = read_record(path)
            key = identity(config_in_record(about, path), run.about()["data"]["sha256"])
            if run.finished:
                run.metrics()
        except (DataError, ConfigError):
            continue
        if key not in found or (run.finished and not found[key].finished):
            found[key] = run
    return found


def _free(folder: Path, key: str, config: Config, taken: set[Path]) -> Path:
    """A name for a new run that says what it is of and that no other has."""
    number = 1
    while True:
        directory = folder / f"{key}-{number:02}-seed-{config.seed}"
        # What a training that was killed at its very start leaves is as good as nothing.
        left = directory.is_dir() and not all(path.match(".*.part") for path in directory.iterdir())
        if directory not in taken and not left:
            return directory
        number += 1
