"""Trainings of a tour: its data, those that are finished, and those to train.

The directory of a run is named after its config and the hash of its data, so that the same command resumes an
interrupted tour within the interrupted training. If versions of packages have changed, that training starts again.
"""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae import experiment
from lstm_ae.config import Config, Mnist, Snp, task_of
from lstm_ae.data import digits
from lstm_ae.data.prices import read_prices
from lstm_ae.data.windows import Data, Split, hash_panel
from lstm_ae.errors import DataError, DivergedError
from lstm_ae.files import as_json, write
from lstm_ae.json_types import JsonObject
from lstm_ae.run import Run
from lstm_ae.studies import load_study, snp
from lstm_ae.tour.evaluation import STEPS_FILE, read_facts
from lstm_ae.tour.findings import Part, TourSources
from lstm_ae.tour.levels import TourLevel
from lstm_ae.training.observer import Progress, ProgressObserver
from lstm_ae.workdir import Workdir

# Number of digits of MNIST, and of companies from which on the prices count as those of the source report.
MNIST_DIGITS, MANY_COMPANIES = 70_000, 400


class TourDirectory(Workdir):
    """Directory of a tour."""

    ABOUT = "tour.json"


class TourTraining(NamedTuple):
    """Training of a tour.

    Args:
        part: title of the first part that needs it.
        setting: its setting in that part.
        config: its config with its seed.
        directory: directory of its run.
        multistep: whether a forecast of many days is measured.
    """

    part: str
    setting: str
    config: Config
    directory: Path
    multistep: bool

    @property
    def title(self) -> str:
        """The training, for messages."""
        return f"{self.part}, {self.setting}, seed {self.config.seed}"

    @property
    def finished(self) -> bool:
        """Whether the run, and its forecast of many days if that is measured, is complete."""
        return Run(self.directory).finished and (not self.multistep or (self.directory / STEPS_FILE).is_file())


class TourData:
    """Data of a tour, of which a level uses a subset.

    Args:
        level: the level.
        folder: directory of the tour, which gets a file of the subset of the digits.
        digits_path: value of `--data` for digits; None for the default of the study.
        prices_path: value of `--data` for prices; None for the default of the study.
    """

    def __init__(self, level: TourLevel, folder: Path, digits_path: str | None, prices_path: str | None) -> None:
        self.prices = read_prices(Snp(data=prices_path, inputs="ohlcv"))
        self.digits, self.counts, self.subset = digits.load(Mnist(data=digits_path)), level.digits, None
        self.notes = (*self.digits.source.notes, *self.prices.notes)
        self.hashes = {"toy": "", "snp": hash_panel(self.prices), "mnist": self.digits.source.sha256 + str(self.counts)}
        if self.counts:
            self.subset = folder / f"digits-{self.counts[0]}-{self.hashes['mnist'][:8]}.npz"
        count = sum(split.samples for split in (self.digits.train, self.digits.validation, self.digits.test))
        self.sources = TourSources(
            str(self.subset) if self.subset else digits_path,
            prices_path,
            choose_companies(self.prices.ids, level.companies),
            whole_digits=count == MNIST_DIGITS,
            whole_prices=len(self.prices.ids) >= MANY_COMPANIES,
        )
        self.cache: dict[str, Data] = {}

    def load(self, config: Config) -> Data:
        """Return the data of a config; that of the last one is kept."""
        if config.data_key not in self.cache:
            if isinstance(config, Mnist) and self.subset and self.counts and not self.subset.exists():
                _write_subset(self.digits, *self.counts, self.subset)
            prices = snp.load(config, self.prices) if isinstance(config, Snp) else None
            self.cache = {config.data_key: prices or load_study(config).load(config)}
        return self.cache[config.data_key]


def choose_companies(symbols: Sequence[str], number: int | None) -> tuple[str, ...]:
    """Return at most `number` companies, evenly spread over the alphabet; empty for all.

    >>> choose_companies(["A", "AAPL", "B", "C", "D"], 3)
    ('A', 'B', 'D')
    """
    if number is None or number >= len(symbols):
        return ()
    return tuple(symbols[:: -(-len(symbols) // number)])


def _write_subset(data: Data, train: int, test: int, path: Path) -> None:
    """Write a file with `train` digits of training and validation together and `test` test digits."""
    splits = ((data.train, train - train // 6), (data.validation, train // 6), (data.test, test))
    images, labels = zip(*(_first_digits(split, number) for split, number in splits), strict=True)
    content = io.BytesIO()
    x_train, y_train = np.concatenate(images[:2]), np.concatenate(labels[:2])
    np.savez_compressed(content, x_train=x_train, y_train=y_train, x_test=images[2], y_test=labels[2])
    write(path, content.getvalue())


def _first_digits(split: Split, number: int) -> tuple[np.ndarray, np.ndarray]:
    assert split.label is not None
    label = split.label.astype(np.uint8)
    index = digits.stratified_order(label)[:number]
    return digits.rows_to_images(split.windows(index), "rows").astype(np.uint8), label[index]


def plan_tour(
    parts: Sequence[Part], seeds: Sequence[int], folder: Path, hashes: Mapping[str, str]
) -> list[TourTraining]:
    """Return the trainings of all parts in their order, each once.

    Args:
        parts: the parts.
        seeds: the seeds of every setting.
        folder: directory of the tour.
        hashes: the hash of the data of each study.
    """
    planned: dict[Config, TourTraining] = {}
    for part in parts:
        for setting in part.settings:
            for config in (config for seed in seeds for config in part.configs(setting, seed)):
                task, options = task_of(config), {k: v for k, v in config.to_dict().items() if k != "data"}
                digest = hashlib.sha256(repr((options, hashes[task])).encode()).hexdigest()
                directory = folder / f"{part.key}-{digest[:8]}-seed-{config.seed}"
                new = TourTraining(part.title, setting, config, directory, part.multistep)
                earlier = planned.get(config, new)
                planned[config] = earlier._replace(multistep=earlier.multistep or part.multistep)
    return list(planned.values())


def run_tour(
    trainings: Sequence[TourTraining],
    load: Callable[[Config], Data],
    command: str,
    notify: Callable[[str], None],
    progress: Callable[[Progress], None],
) -> None:
    """Train or resume the trainings that are not finished, and measure the forecasts of many days.

    Args:
        trainings: the trainings of the tour.
        load: returns the data of a config.
        command: command to record in the runs.
        notify: called with a description of each training before it starts, and if it diverges.
        progress: called with the progress of a training.
    """
    unfinished = [training for training in trainings if not training.finished]
    for number, training in enumerate(unfinished, 1):
        notify(f"training {number} of {len(unfinished)}: {training.title}")
        run, data = Run(training.directory), load(training.config)
        try:
            observer, config = ProgressObserver(progress), training.config
            experiment.train_or_resume(run, config, data, command=command, observer=observer)
        except DivergedError as error:
            notify(f"{training.title}: {error}")
        if run.finished and training.multistep:
            _measure_multistep(run, data)


def read_runs(trainings: Sequence[TourTraining]) -> tuple[dict[Config, JsonObject], list[str]]:
    """Return the facts of the finished runs by their config, and one sentence for each run that cannot be read."""
    facts, missing = {}, []
    for training in trainings:
        try:
            facts[training.config] = read_facts(Run(training.directory))
        except DataError as error:
            missing.append(f"{training.title}: {error}")
    return facts, missing


def _measure_multistep(run: Run, data: Data) -> None:
    """Forecast many days and write the measures of the first and of the last step."""
    from lstm_ae.studies.snp.forecasting import forecast_prices

    opened = experiment.open_trained(run, data)
    forecast = forecast_prices(opened.model, opened.data)
    measures, steps = forecast.evaluation.as_json(), len(forecast.evaluation.metrics)
    # The change of the first day is left out, because it is the change from a known price to a forecast.
    predicted, actual = (
        np.abs(np.diff(np.log(np.asarray(forecast.table[name], np.float64).reshape(-1, steps)), axis=1)).mean()
        for name in ("predicted", "actual")
    )
    movement = float(predicted / actual) if actual > 0 else None
    last = measures[str(steps)] | {"movement": {"value": movement, "baselines": {}}}
    write(run.directory / STEPS_FILE, as_json({"first step": measures["1"], "last step": last}))
