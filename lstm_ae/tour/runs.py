"""Runs of a tour: those that exist in its directory, and those to train.

A run is reused if its config and the hash of its data are equal; the location of the data does not matter. So the same
command resumes an interrupted tour within the interrupted training. If versions of packages have changed, that training
starts again from the first epoch.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lstm_ae.config import Config, task_of
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.files import claim
from lstm_ae.run import Run, config_in_record, installed_versions, read_record
from lstm_ae.tour.claims import TourPart
from lstm_ae.tour.commands import training_command
from lstm_ae.tour.measurements import STEPS, measure_multistep
from lstm_ae.training.observer import Progress, ProgressObserver, TrainingObserver

# The file that marks the directory of a tour.
FILE = "tour.json"

THERE, UNFINISHED, OUTDATED, MISSING = "there", "unfinished", "outdated", "missing"

STATES = (THERE, UNFINISHED, OUTDATED, MISSING)

Load = Callable[[Config], Data]


class TourTraining(NamedTuple):
    """Training of a tour.

    Args:
        part: key of the first part that needs it.
        setting: its setting in that part.
        config: its config with its seed.
        directory: directory of its run.
        state: `THERE`, `UNFINISHED`, `OUTDATED` (unfinished and of other versions), or `MISSING`.
        multistep: whether a forecast of many days is measured.
        draws_figures: whether figures are draws_figures.
    """

    part: str
    setting: str
    config: Config
    directory: Path
    state: str
    multistep: bool
    draws_figures: bool

    @property
    def command(self) -> str:
        """The command that trains it."""
        return training_command(self.config, self.directory)


class TourProgress(NamedTuple):
    """Progress of a tour.

    Args:
        training: the current training.
        number: its number, from 1.
        total: number of trainings.
        progress: progress of the training as in `lstm_ae.training.loop`; None at its start.
    """

    training: TourTraining
    number: int
    total: int
    progress: Progress | None


def open_tour(folder: Path, *, create: bool = True) -> None:
    """Create the directory of a tour or check an existing one.

    Args:
        folder: the directory.
        create: whether to create it; otherwise it is only checked.

    Raises:
        ConfigError: the directory has other content.
    """
    if create or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        claim(folder, FILE, {"tour": 1})


def setting_configs(part: TourPart, setting: str, seeds: Iterable[int]) -> Iterator[Config]:
    """Yield the configs of a setting with each seed, seed by seed."""
    (match,) = (each for each in part.settings if each.name == setting)
    for seed in seeds:
        for config in match.configs:
            yield type(config).from_dict(config.to_dict() | {"seed": seed})


def plan_tour(
    parts: Sequence[TourPart], seeds: Sequence[int], folder: Path, sha256: Callable[[Config], str]
) -> list[TourTraining]:
    """Return the trainings of all parts in their order, each once, with their state.

    Args:
        parts: the parts.
        seeds: the seeds of every setting.
        folder: directory of the tour.
        sha256: returns the hash of a config's data.
    """
    planned: dict[str, TourTraining] = {}
    existing = _existing_runs(folder)
    used = {run.directory for run in existing.values()}
    for part in parts:
        for setting in part.settings:
            for config in setting_configs(part, setting.name, seeds):
                key = identity(config, sha256(config))
                multistep = setting.name in part.multistep
                draws_figures = setting.name == part.shown_setting and config.seed == seeds[0]
                if key in planned:
                    training = planned[key]
                    planned[key] = training._replace(
                        multistep=training.multistep or multistep, draws_figures=training.draws_figures or draws_figures
                    )
                    continue
                run = existing.get(key)
                directory = run.directory if run else _new_directory(folder, part.key, config, used)
                used.add(directory)
                state = MISSING if run is None else _state(run)
                planned[key] = TourTraining(part.key, setting.name, config, directory, state, multistep, draws_figures)
    return list(planned.values())


def identity(config: Config, sha256: str) -> str:
    """Return a key of a run: its config without the location of the data, and the hash of the data."""
    return repr((task_of(config), {k: v for k, v in config.to_dict().items() if k != "data"}, sha256))


def run_tour(trainings: Sequence[TourTraining], load: Load, notify: Callable[[TourProgress], None]) -> list[str]:
    """Train or resume the trainings that are not finished, and measure the forecasts of many days.

    Args:
        trainings: the trainings of the tour.
        load: returns the data of a config.
        notify: called before each training and with its progress.

    Returns:
        One sentence for each training that diverged.
    """
    unfinished = [training for training in trainings if not _done(training)]
    diverged = []
    for number, training in enumerate(unfinished, 1):
        start = TourProgress(training, number, len(unfinished), None)
        notify(start)

        def report(progress: Progress, start: TourProgress = start) -> None:
            notify(start._replace(progress=progress))

        try:
            _train(training, load, ProgressObserver(report))
        except DivergedError as error:
            diverged.append(f"{training.setting}, seed {training.config.seed}: {error}")
    return diverged


def _done(training: TourTraining) -> bool:
    run = Run(training.directory)
    return (
        run.finished
        and (not training.multistep or _steps(run).is_file())
        and (not training.draws_figures or _figures(run))
    )


def _figures(run: Run) -> bool:
    return any((run.directory / "figures").glob("*.png"))


def _steps(run: Run) -> Path:
    return run.directory / f"{STEPS}.csv"


def _train(training: TourTraining, load: Load, observer: TrainingObserver) -> None:
    from lstm_ae import experiment
    from lstm_ae.experiment import open_trained

    data, run, diverged = load(training.config), Run(training.directory), None
    try:
        if training.state == OUTDATED and not run.finished:
            shutil.rmtree(run.directory)
        if training.state == UNFINISHED:
            experiment.resume(run, training.config, data, observer=observer)
        elif not run.finished:
            experiment.train(
                training.config,
                data,
                out=training.directory,
                command=training.command,
                observer=observer,
                figures=training.draws_figures,
            )
    except DivergedError as error:
        if not run.finished:
            raise
        diverged = error
    if training.draws_figures and not _figures(run):
        open_trained(run, data).plot()
    if training.multistep:
        measure_multistep(open_trained(run, data))
    if diverged:
        raise diverged


def _state(run: Run) -> str:
    if run.finished:
        return THERE
    # A training must not mix versions, so a state of other versions cannot be resumed.
    return UNFINISHED if run.about().get("versions") == installed_versions() else OUTDATED


def _existing_runs(folder: Path) -> dict[str, Run]:
    """Return the readable runs in a folder by identity; of equal runs, a finished one."""
    runs: dict[str, Run] = {}
    for path in sorted(folder.glob("*/config.json")):
        run = Run(path.parent)
        try:
            about = read_record(path)
            key = identity(config_in_record(about, path), run.about()["data"]["sha256"])
            if run.finished:
                run.metrics()
        except (DataError, ConfigError):
            continue
        if key not in runs or (run.finished and not runs[key].finished):
            runs[key] = run
    return runs


def _new_directory(folder: Path, key: str, config: Config, used: set[Path]) -> Path:
    """Return an unused directory for a new run."""
    number = 1
    while True:
        directory = folder / f"{key}-{number:02}-seed-{config.seed}"
        # A directory with temporary files only is of a training that was killed at its start.
        occupied = directory.is_dir() and not all(path.match(".*.part") for path in directory.iterdir())
        if directory not in used and not occupied:
            return directory
        number += 1
