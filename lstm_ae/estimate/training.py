"""Estimate of a training: some steps are timed, and a run is written once to a temporary directory.

The estimate uses the code and the data of the training itself.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lstm_ae.config import Config, task_of
from lstm_ae.data.windows import Data, inference_batch_size
from lstm_ae.estimate.durations import CommandEstimate, Duration, EstimatePart, TrainingPace, TrainingWork
from lstm_ae.estimate.memory import peak_memory
from lstm_ae.experiment import average_models, finish_run, seed
from lstm_ae.kernels.choice import accelerate
from lstm_ae.models.scaling import inner_network
from lstm_ae.run import Run, create_run
from lstm_ae.studies import load_study
from lstm_ae.training.batches import shuffled_order
from lstm_ae.training.checkpoint import Checkpointer
from lstm_ae.training.loop import TrainingResult, limit_validation, prepare_training
from lstm_ae.training.observer import TrainingObserver
from lstm_ae.training.steps import TrainingSteps, steps_per_epoch

if TYPE_CHECKING:
    import keras


# Seconds of training steps to time, and seconds of one timed call. A training reports its progress as often.
SECONDS, CALL_SECONDS = 3.0, 0.2
# Smallest number of timed calls.
MIN_CALLS = 3
# Largest number of windows of a split on which the finished model is evaluated. The time of further windows is
# extrapolated from this number and a tenth of it.
MAX_WINDOWS = 10_000


class MeasuredTraining(NamedTuple):
    """Measurements of a training.

    Args:
        pace: its speed.
        work: its amount of work.
        finish: duration of evaluating, drawing, and saving the trained model; 0 if it was not measured.
        parameters: number of parameters of the network.
        state: bytes of the training state of a network.
        run: bytes of the finished run; 0 if it was not measured.
    """

    pace: TrainingPace
    work: TrainingWork
    finish: Duration
    parameters: int
    state: int
    run: int

    @property
    def states(self) -> int:
        """Bytes of the training states of all networks; a new one is written before the previous one is deleted."""
        return (self.work.networks + 1) * self.state


def estimate_training(config: Config, data: Data, *, command: str = "") -> CommandEstimate:
    """Estimate the cost of `lstm_ae.experiment.train` from the loaded data to the finished run.

    Args:
        config: the config.
        data: its data.
        command: the command line for the record of the run.
    """
    measured = measure_training(config, data, command=command)
    finish = EstimatePart("finish", "evaluate, draw, and save the model", measured.finish)
    refit, states = [], measured.states
    if getattr(config, "refit", False):
        again = measured.pace.of(measured.work) + measured.finish
        refit.append(EstimatePart("refit", "train again on train and validation, at most as many epochs", again))
        # The states of the first training remain until the run is written.
        states += measured.work.networks * measured.state
    notes = [f"{measured.parameters:,} parameters", *describe_patience(config)]
    # Weight averaging needs two further copies of the weights of 4 bytes each.
    averages = 8 * measured.parameters if config.average else 0
    memory = peak_memory()
    return CommandEstimate(
        (*measured.pace.parts(measured.work), finish, *refit),
        None if memory is None else memory + averages,
        measured.run,
        states,
        (*notes, MEMORY),
    )


MEMORY = "memory is the peak of this process after training, evaluating, and saving; GPU memory is not included"


def describe_patience(config: Config) -> list[str]:
    """Return a note on early stopping; empty if the config has none."""
    note = f"training ends earlier after {config.patience} epochs without a better validation loss"
    return [note] if 0 < config.patience < config.epochs else []


def measure_training(
    config: Config,
    data: Data,
    *,
    finish: bool = True,
    figures: bool = True,
    seconds: float = SECONDS,
    command: str = "",
) -> MeasuredTraining:
    """Train for a few steps and measure the duration, the training state, and the run.

    Args:
        config: the config.
        data: its data.
        finish: whether to evaluate, draw, and save the model as well.
        figures: whether to draw figures.
        seconds: how long to time training steps, with at least three calls.
        command: the command line for the record of the run.
    """
    with tempfile.TemporaryDirectory() as folder:
        measured, trained = _measure_steps(config, data, Path(folder), seconds)
        if not finish:
            return measured
        runs = [
            create_run(Path(folder) / name, config, data.source, data.symbols, command) for name in ("first", "second")
        ]
        return _measure_finish(measured, runs, config, data, trained, figures=figures)


def training_work(config: Config, data: Data) -> TrainingWork:
    """Return the amount of work of a training."""
    steps = steps_per_epoch(data.train, config.batch_size, getattr(config, "steps_per_epoch", None))
    windows = limit_validation(data, config).validation.samples
    return TrainingWork(config.epochs, steps, windows, config.networks)


class _Trained(NamedTuple):
    """Model after a few training steps and its history."""

    model: "keras.Model"
    fitted: TrainingResult


def _measure_steps(config: Config, data: Data, folder: Path, seconds: float) -> tuple[MeasuredTraining, _Trained]:
    start = time.monotonic()
    whole, config = config, config.for_members()[0]
    seed(config)
    model = load_study(task_of(config)).build(config, data)
    network, state = inner_network(model), folder / "state.npz"
    validation = data.validation.thin(4 * inference_batch_size(data.validation))
    steps = prepare_training(network, data._replace(validation=validation), config)
    variables = list(network.variables)
    checkpointer = Checkpointer(
        config, variables, list(steps.optimizer.variables), state, {}, TrainingObserver(), steps.count
    )
    # Every training saves its initial state, and later states have the same size.
    save = _seconds(checkpointer.save)
    with accelerate(network, config.kernel):
        row, calls = _time_steps(steps, config, start, seconds)
        first_validation, validations = _time_validation(steps, row)
    steps.release()
    step, validate = _duration(calls[1:]), _duration(validations)
    pace = TrainingPace(
        max(0.0, calls[0] - step.usual) + max(0.0, first_validation - validate.usual),
        step,
        validate * (1 / steps.validation_feed.samples),
        save,
    )
    work = training_work(whole, data)
    initial_row = {name: row[name] for name in row if name.startswith("val_") or name == "seconds"}
    # The weights may be worse after a few steps than at the start.
    for variable, value in zip(variables, checkpointer.best, strict=True):
        variable.assign(value)
    model = average_models(whole, data, [model] * work.networks)
    parameters = int(inner_network(model).count_params())
    measured = MeasuredTraining(pace, work, Duration(0, 0), parameters, state.stat().st_size, 0)
    return measured, _Trained(model, TrainingResult([{"epoch": 0.0, **initial_row}, row], 1, "", False, 0.0))


def _time_steps(
    steps: TrainingSteps, config: Config, start: float, seconds: float
) -> tuple[dict[str, float], list[float]]:
    """Time training steps.

    Args:
        steps: the training.
        config: its config.
        start: time at which the training started.
        seconds: how long to time training steps.

    Returns:
        A row of a history, and seconds per step of each call; those of the first call are counted from `start`.
    """
    sequence = shuffled_order(steps.train_feed.samples, config.seed, 0)
    none = dict.fromkeys(steps.names, 0.0)
    values = steps.train(sequence, 0, 1, none)
    calls = [time.monotonic() - start]
    size, done = 1, 1 % steps.count
    # The second call is not counted. It determines the number of steps per call.
    step_seconds = _seconds(lambda: steps.train(sequence, done, done + 1, none))
    size = max(1, min(steps.count, int(CALL_SECONDS / max(step_seconds, 1e-9))))
    # There are not more calls than the training itself has.
    max_calls = steps.count * config.epochs / size
    while len(calls) <= MIN_CALLS or (sum(calls[1:]) * size < seconds and len(calls) <= max_calls):
        done = done if done + size <= steps.count else 0
        calls.append(_seconds(lambda first=done: steps.train(sequence, first, first + size, none)) / size)  # type: ignore[misc]
        done += size
    samples = min(steps.batch_size, steps.train_feed.samples)
    # The values matter only for the size of the row and must be finite for the figures.
    row = {name: value / samples if math.isfinite(value) else 1.0 for name, value in values.items()}
    return {"epoch": 1.0, **row}, calls


def _time_validation(steps: TrainingSteps, row: dict[str, float]) -> tuple[float, list[float]]:
    """Return the seconds of the first and of later validations, and add validation columns to the row."""
    first = _seconds(steps.validate)
    later = [_seconds(steps.validate) for _ in range(MIN_CALLS)]
    row |= {f"val_{name}": row[name] for name in steps.names} | {"learning_rate": 0.01, "seconds": 1.0}
    return first, later


def _measure_finish(
    measured: MeasuredTraining, runs: Sequence[Run], config: Config, data: Data, trained: _Trained, *, figures: bool
) -> MeasuredTraining:
    """Finish a run and add its duration and its size on disk to the measurements."""

    def finish(run: Run, max_windows: int) -> tuple[float, int]:
        subset = data._replace(validation=data.validation.thin(max_windows), test=data.test.thin(max_windows))
        return _seconds(lambda: finish_run(run, config, subset, *trained, figures=figures)), _evaluated_windows(subset)

    first, second = runs
    duration, windows = finish(first, MAX_WINDOWS)
    if remaining := _evaluated_windows(data) - windows:
        short_duration, fewer_windows = finish(second, MAX_WINDOWS // 10)
        duration += remaining * max(0.0, duration - short_duration) / (windows - fewer_windows)
    sizes = [path.stat().st_size for path in first.directory.rglob("*") if path.is_file()]
    lines = (first.directory / "history.csv").read_bytes().splitlines(keepends=True)
    return measured._replace(
        finish=Duration(duration, duration),
        run=sum(sizes) + (measured.work.networks * config.epochs - 1) * len(lines[-1]),
    )


def _evaluated_windows(data: Data) -> int:
    """Return the number of windows on which a finished model is evaluated."""
    return data.validation.samples + data.test.samples


def _seconds(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def _duration(seconds: list[float]) -> Duration:
    return Duration(statistics.median(seconds), max(seconds))
