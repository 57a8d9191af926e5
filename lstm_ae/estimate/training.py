"""What a training takes: some of its steps are timed, and its run is written once into a folder that is deleted.

All of it is done by the code that trains, on the data it would train on, so that what is timed is what will happen.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lstm_ae.config import Config, task_of
from lstm_ae.data.windows import Data, inference_batch_size
from lstm_ae.estimate.durations import CommandEstimate, Duration, EstimatePart, TrainingPace, TrainingWork
from lstm_ae.estimate.memory import peak_memory
from lstm_ae.experiment import finish_run, seed
from lstm_ae.kernels.choice import accelerate
from lstm_ae.models.scaling import inner_network
from lstm_ae.run import Run, create_run
from lstm_ae.studies import load_study
from lstm_ae.training.batches import shuffled_order
from lstm_ae.training.checkpoint import Checkpointer
from lstm_ae.training.loop import TrainingResult, limit_validation, prepare_training
from lstm_ae.training.steps import TrainingSteps, steps_per_epoch

# Seconds of training steps to time, and of one call of them, which is what a training reports after.
SECONDS, EVERY = 3.0, 0.2
# Timed calls at least, however long they take.
LEAST = 3
# Windows of a part to measure once the model is trained; of more, what a window adds is found by measuring a tenth.
MEASURED = 10_000


class MeasuredTraining(NamedTuple):
    """What was seen of a training.

    Args:
        pace: how fast it goes.
        work: what there is to do.
        finish: how long the finished model takes to be measured, drawn and saved; none where that was not asked for.
        parameters: of the network.
        state: bytes of the training state.
        run: bytes of the finished run; 0 where `finish` was not asked for.
    """

    pace: TrainingPace
    work: TrainingWork
    finish: Duration
    parameters: int
    state: int
    run: int


def estimate_training(config: Config, data: Data, *, command: str = "") -> CommandEstimate:
    """What `lstm_ae.experiment.train` takes for a config, from the loaded data to the finished run."""
    found = measure_training(config, data, command=command)
    finish = EstimatePart("finish", "the model is measured, drawn and saved", found.finish)
    notes = [f"{found.parameters:,} parameters", *describe_patience(config)]
    # Two further copies of the weights: those that were averaged, and their own beside them.
    averages = 8 * found.parameters if config.average else 0
    memory = peak_memory()
    return CommandEstimate(
        (*found.pace.parts(found.work), finish),
        None if memory is None else memory + averages,
        found.run,
        # The next state is written beside the last one.
        2 * found.state,
        (*notes, MEMORY),
    )


MEMORY = "memory is the peak of this process, which has trained, measured and saved; that of a GPU is not counted"


def describe_patience(config: Config) -> list[str]:
    """A note on trainings that end before their last epoch, where they may."""
    ends = f"training ends earlier after {config.patience} epochs without a better validation loss"
    return [ends] if 0 < config.patience < config.epochs else []


def measure_training(
    config: Config,
    data: Data,
    *,
    finish: bool = True,
    figures: bool = True,
    seconds: float = SECONDS,
    command: str = "",
) -> MeasuredTraining:
    """Train a few steps and see what that takes.

    Args:
        finish: time what follows a training as well.
        figures: which figures are a part of.
        seconds: how long to time training steps; three calls of them at least.
        command: as it would stand in the run.
    """
    with tempfile.TemporaryDirectory() as folder:
        found, trained = _measured(config, data, Path(folder), seconds)
        if not finish:
            return found
        runs = [
            create_run(Path(folder) / name, config, data.source, data.symbols, command) for name in ("run", "again")
        ]
        return _finished(found, runs, config, data, trained, figures=figures)


def training_work(config: Config, data: Data) -> TrainingWork:
    """Return what a training has to do."""
    steps = steps_per_epoch(data.train, config.batch_size, getattr(config, "steps_per_epoch", None))
    return TrainingWork(config.epochs, steps, limit_validation(data, config).validation.samples)


class _Trained(NamedTuple):
    """A model after a few steps, and what is known of them."""

    model: Any
    fitted: TrainingResult


def _measured(config: Config, data: Data, folder: Path, seconds: float) -> tuple[MeasuredTraining, _Trained]:
    began = time.monotonic()
    seed(config)
    model = load_study(task_of(config)).build(config, data)
    network, state = inner_network(model), folder / "state.npz"
    some = data.validation.thin(4 * inference_batch_size(data.validation))
    steps = prepare_training(network, data._replace(validation=some), config)
    variables = list(network.variables)
    keeper = Checkpointer(config, variables, list(steps.optimizer.variables), state, {}, None, steps.count)
    # The state of the start, which every training saves first; the later ones are as large.
    save = _seconds(keeper.save)
    with accelerate(network, config.kernel):
        row, calls = _time_steps(steps, config, began, seconds)
        first, validations = _time_validation(steps, row)
    steps.release()
    step, whole = _duration(calls[1:]), _duration(validations)
    pace = TrainingPace(
        max(0.0, calls[0] - step.usual) + max(0.0, first - whole.usual),
        step,
        whole * (1 / steps.validation_feed.samples),
        save,
    )
    work = training_work(config, data)
    start = {name: row[name] for name in row if name.startswith("val_") or name == "seconds"}
    found = MeasuredTraining(pace, work, Duration(0, 0), int(network.count_params()), state.stat().st_size, 0)
    for variable, value in zip(variables, keeper.best, strict=True):  # a few steps may have spoilt the weights
        variable.assign(value)
    return found, _Trained(model, TrainingResult([{"epoch": 0.0, **start}, row], 1, "", False, 0.0))


def _time_steps(
    steps: TrainingSteps, config: Config, began: float, seconds: float
) -> tuple[dict[str, float], list[float]]:
    """A row of a history, and the seconds of training steps: since `began` for the first, the mean of calls then."""
    sequence = shuffled_order(steps.train_feed.samples, config.seed, 0)
    none = dict.fromkeys(steps.names, 0.0)
    values = steps.train(sequence, 0, 1, none)
    calls = [time.monotonic() - began]
    size, done = 1, 1 % steps.count
    # Of the second call no more is taken than how many steps make up a long enough one.
    rough = _seconds(lambda: steps.train(sequence, done, done + 1, none))
    size = max(1, min(steps.count, int(EVERY / max(rough, 1e-9))))
    # A training of few steps is not outdone.
    most = steps.count * config.epochs / size
    while len(calls) <= LEAST or (sum(calls[1:]) * size < seconds and len(calls) <= most):
        done = done if done + size <= steps.count else 0
        calls.append(_seconds(lambda first=done: steps.train(sequence, first, first + size, none)) / size)  # type: ignore[misc]
        done += size
    seen = min(steps.batch_size, steps.train_feed.samples)
    # Only the row's length counts, and that it can be drawn.
    row = {name: value / seen if math.isfinite(value) else 1.0 for name, value in values.items()}
    return {"epoch": 1.0, **row}, calls


def _time_validation(steps: TrainingSteps, row: dict[str, float]) -> tuple[float, list[float]]:
    """The seconds of the first validation, and of later ones; what it says is added to the row."""
    first = _seconds(steps.validate)
    later = [_seconds(steps.validate) for _ in range(LEAST)]
    row |= {f"val_{name}": row[name] for name in steps.names} | {"learning_rate": 0.01, "seconds": 1.0}
    return first, later


def _finished(
    found: MeasuredTraining, runs: Sequence[Run], config: Config, data: Data, trained: _Trained, *, figures: bool
) -> MeasuredTraining:
    """Complete a run that is trained, and see what that takes of time and disk."""

    def taken(run: Run, most: int) -> tuple[float, int]:
        few = data._replace(validation=data.validation.thin(most), test=data.test.thin(most))
        return _seconds(lambda: finish_run(run, config, few, *trained, figures=figures)), _measured_on(few)

    run, other = runs
    whole, windows = taken(run, MEASURED)
    if left := _measured_on(data) - windows:
        less, fewer = taken(other, MEASURED // 10)
        whole += left * max(0.0, whole - less) / (windows - fewer)
    sizes = [path.stat().st_size for path in run.directory.rglob("*") if path.is_file()]
    lines = (run.directory / "history.csv").read_bytes().splitlines(keepends=True)
    return found._replace(
        finish=Duration(whole, whole),
        run=sum(sizes) + (config.epochs - 1) * len(lines[-1]),
    )


def _measured_on(data: Data) -> int:
    """Windows that a finished model is measured on."""
    return data.validation.samples + data.test.samples


def _seconds(action: Callable[[], Any]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def _duration(seconds: list[float]) -> Duration:
    return Duration(statistics.median(seconds), max(seconds))
