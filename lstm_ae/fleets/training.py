"""Train a fleet: first a common model on all series, then a model for each series that starts from its weights.

A training from random weights spends most of its time on patterns that all series share. From the common weights, a few
epochs with a small learning rate are enough, and a series whose own rows do not improve on them
keeps them. A model depends on the common weights and on the rows of its series only, so neither the order of the
series nor an interruption changes it.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae import experiment
from lstm_ae.config import DATA_PATHS, Series
from lstm_ae.data.panel import Panel
from lstm_ae.data.windows import Data, hash_arrays, hash_panel
from lstm_ae.errors import Code, ConfigError, DataError, DivergedError
from lstm_ae.fleets.directory import FORMAT, Fleet, directory_names, take_series
from lstm_ae.json_types import JsonObject
from lstm_ae.parallel import NO_OBSERVER, THIS_PROCESS, Engine, JobEnd, JobObserver, end_without_results, run_jobs
from lstm_ae.run import Run, config_record, measured_splits, open_run, save_run
from lstm_ae.startup import import_tensorflow
from lstm_ae.studies import evaluated_splits
from lstm_ae.studies.series import reconstruction
from lstm_ae.studies.series.defaults import complete_from_table
from lstm_ae.training.observer import DIVERGENCE, NO_TRAINING_OBSERVER, TrainingObserver

# A model is trained for this share of the epochs of the common model, and with this share of its learning rate.
EPOCHS_SHARE, RATE_SHARE = 1 / 5, 2 / 5

# Tasks whose models can start from the common one. Other networks contain a regression that is fitted to their rows.
TASKS = ("anomaly", "reconstruct")


class FleetTask(NamedTuple):
    """Settings that the trainings of all series share.

    Args:
        config: config of a series, without those options that depend on its rows.
        common: directory of the run of the common model.
        command: command to record.
    """

    config: Series
    common: str
    command: str

    def prepare(self, threads: int) -> None:
        """Import TensorFlow in a new process, whose small trainings use one core."""
        import_tensorflow(1)

    def load(self) -> "Callable[[SeriesJob], JobEnd]":
        """Return the function that trains a model."""
        return SeriesTrainer(self).run


class SeriesJob(NamedTuple):
    """Training of one series.

    Args:
        number: number of the series.
        table: its rows.
        directory: directory of its run.
    """

    number: int
    table: Panel
    directory: str

    @property
    def title(self) -> str:
        """The name of the series."""
        return self.table.ids[0]


def require_fleet_options(config: Series) -> None:
    """Raise `ConfigError` if options do not fit a fleet."""
    if not config.id_col:
        raise ConfigError("--fleet needs --id-col, the columns that identify a series", code=Code.MISSING_OPTION)
    if config.task not in TASKS:
        raise ConfigError(
            f"--fleet is for --task {' and '.join(TASKS)}. Received: {config.task}", code=Code.OPTION_NOT_APPLICABLE
        )
    if config.test is not None or config.split_by == "series":
        option = "--split-by series" if config.test is None else "--test"
        raise ConfigError(
            f"{option} does not apply to a fleet, which divides the rows of each series. Remove it, or remove --fleet",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    if config.scale in ("none", "minmax"):
        raise ConfigError(
            f"--scale {config.scale} does not apply to a fleet, whose common model needs values on one scale. Use "
            "--scale standard or window",
            code=Code.OPTION_NOT_APPLICABLE,
        )


def common_config(config: Series) -> Series:
    """Return the config of the common model, which scales each series by its own training rows."""
    return config if config.scale == "window" else dataclasses.replace(config, scale="series")


def series_config(config: Series, common: Series) -> Series:
    """Return the config of the model of a series, whose network is that of the common model.

    Args:
        config: config of the fleet.
        common: complete config of the common model.
    """
    return dataclasses.replace(
        common,
        scale="window" if config.scale == "window" else "standard",
        batch_size=config.batch_size,
        steps_per_epoch=config.steps_per_epoch,
        epochs=max(1, round(config.epochs * EPOCHS_SHARE)),
        learning_rate=config.learning_rate * RATE_SHARE,
    )


class SeriesTrainer:
    """Trainer of the models of series, which loads the common model once.

    Args:
        task: settings that the trainings share.
    """

    def __init__(self, task: FleetTask) -> None:
        from lstm_ae.models.scaling import inner_network

        common = open_run(task.common)
        self.task = task
        self.weights = [np.array(weight) for weight in inner_network(common.model()).weights]
        self.residuals = reconstruction.model_residuals(common.network())

    def run(self, job: SeriesJob) -> JobEnd:
        """Train the model of a series and write its run, or return why there is no model.

        A job may be repeated after its process died; a run that it has finished is kept. The run also has the errors of
        the common model on the same windows, so that the two can be compared.
        """
        import keras

        if Run(Path(job.directory)).finished:
            return JobEnd(job.number)
        # Keras' global state would otherwise grow with each model.
        keras.utils.clear_session()
        try:
            config, data = complete_from_table(self.task.config, job.table)
            record = config_record(config, data.source, data.symbols, self.task.command)
            # A model is small, and several are trained at once.
            model, result = experiment.fit_model(config, data, start=self.weights, parts=1)
            if result.diverged:
                return JobEnd(job.number, f"{result.stopped}; pass a lower --learning-rate, or --clip 1")
            note = {"common": self._errors(data)}
            fitted = experiment.assemble(config, data, model, result, record=record, name=job.directory, note=note)
            save_run(fitted, Path(job.directory))
        except (ConfigError, DataError) as error:
            return end_without_results(job, str(error))
        return JobEnd(job.number)

    def _errors(self, data: Data) -> dict[str, float]:
        """Return the mean errors of the common model by split, as they are measured for the model of the series."""
        errors = reconstruction.squared_errors(self.residuals, data.in_common_scale.scale)
        splits = {name: split.without_anomalies() for name, split in evaluated_splits(data).items()}
        return {
            name: reconstruction.mean_errors(split, {"": errors})[""] for name, split in splits.items() if split.samples
        }


def train_fleet(
    config: Series,
    table: Panel,
    fleet: Fleet,
    command: str = "",
    observer: TrainingObserver = NO_TRAINING_OBSERVER,
    engine: Engine = THIS_PROCESS,
    jobs_observer: JobObserver = NO_OBSERVER,
) -> list[JsonObject]:
    """Train a fleet, or resume its training, and return the rows of its table.

    Args:
        config: config of the fleet.
        table: rows of all series.
        fleet: directory of the fleet; new, empty, or that of the same training.
        command: command to record.
        observer: receives the events of the training of the common model.
        engine: where the models of the series are trained; by default one after another in this process.
        jobs_observer: called for these models; it counts those trained before as ended.

    Raises:
        ConfigError: options do not fit a fleet, or the directory is in use or belongs to something else.
        DataError: no series is long enough for a model.
        DivergedError: the loss of the common model became NaN or infinite.
    """
    require_fleet_options(config)
    names = directory_names(table.ids)
    options = {name: value for name, value in config.to_dict().items() if name not in DATA_PATHS}
    about: JsonObject = {"format": FORMAT, "data": hash_panel(table), "config": options, "series": names}
    if table.labels is not None:
        about["labels"] = {"classes": list(table.classes), "sha256": hash_arrays(table.labels)}
    with fleet.claim(about):
        common = _train_common(fleet.common, common_config(config), table, command, observer)
        task = FleetTask(series_config(config, common), str(fleet.common.directory.absolute()), command)
        jobs = [
            SeriesJob(number, own, str(fleet.run(names[name]).directory.absolute()))
            for number, (name, own) in enumerate(take_series(table))
        ]
        waiting = [job for job in jobs if not Run(Path(job.directory)).finished]
        if waiting:
            fleet.table.unlink(missing_ok=True)  # It marks the fleet as finished.
        done = len(jobs) - len(waiting)
        failures = dict(
            run_jobs(task, waiting, len(waiting), end_without_results, engine, jobs_observer, completed=done)
        )
        rows = [_describe_series(job, failures.get(job.number, "")) for job in jobs]
        fleet.write_series(rows)
    return rows


def _train_common(run: Run, config: Series, table: Panel, command: str, observer: TrainingObserver) -> Series:
    """Train or resume the common model, unless it is complete, and return its complete config.

    Raises:
        DivergedError: its loss became NaN or infinite, now or when it was trained.
    """
    if not run.finished:
        complete, data = complete_from_table(config, table)
        experiment.train_or_resume(run, complete, data, command=command, observer=observer)
    stopped = run.metrics()["training"]["stopped"]
    if DIVERGENCE in stopped:
        raise DivergedError(
            f"The common model in {str(run.directory)!r} diverged: {stopped}. Pass a lower --learning-rate, or "
            "--clip 1, and another --out"
        )
    stored = run.config()
    assert isinstance(stored, Series)
    return stored


def _describe_series(job: SeriesJob, failure: str) -> JsonObject:
    """Return the row of a series in the table of the fleet."""
    row: JsonObject = {"series": job.table.ids[0], "rows": len(job.table.lines)}
    if failure:
        return row | {"failure": failure}
    directory = Path(job.directory)
    metrics = Run(directory).metrics()
    training, verdicts = metrics["training"], metrics.get("verdict", {})
    errors = {
        split: measures["reconstruction_mse"]["value"]
        for split, measures in measured_splits(metrics).items()
        if "reconstruction_mse" in measures
    }
    return row | {
        "run": f"runs/{directory.name}",
        "verdict": verdicts.get("test", verdicts.get("validation", {})).get("text"),
        "validation_error": errors.get("validation"),
        "test_error": errors.get("test"),
        "common_validation_error": training["common"].get("validation"),
        "common_test_error": training["common"].get("test"),
        "threshold": metrics.get("threshold", {}).get("value"),
        "epochs": training["best_epoch"],
        "seconds": training["seconds"],
    }
