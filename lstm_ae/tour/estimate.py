"""Estimate of the time, memory, and disk usage of a tour."""

from collections.abc import Callable, Sequence

from lstm_ae.config import Config
from lstm_ae.data.windows import Data
from lstm_ae.estimate.durations import CommandEstimate, Duration, EstimatePart
from lstm_ae.estimate.memory import peak_memory
from lstm_ae.estimate.searches import SAME_SIZE
from lstm_ae.estimate.training import MEMORY, measure_training
from lstm_ae.formatting import format_count
from lstm_ae.tour.runs import THERE, UNFINISHED, TourTraining

# Seconds of training steps to time for each size.
SECONDS = 1.0


def estimate_tour(
    trainings: Sequence[TourTraining],
    load: Callable[[Config], Data],
    notify: Callable[[int, int], None] = lambda number, total: None,
) -> CommandEstimate:
    """Estimate the cost of `lstm_ae.tour.runs.run_tour` by timing one training of each size.

    Args:
        trainings: the trainings of the tour.
        load: returns the data of a config.
        notify: called before each timed training with its number, from 1, and the number of sizes.
    """
    missing = [training for training in trainings if training.state != THERE]
    sizes: dict[str, list[TourTraining]] = {}
    for training in missing:
        sizes.setdefault(_size(training.config), []).append(training)
    durations: dict[str, list[Duration]] = {training.part: [] for training in missing}
    disk = disk_peak = 0
    for number, same_size in enumerate(sizes.values(), 1):
        notify(number, len(sizes))
        config = same_size[0].config
        # Only one training of each part draws figures.
        measured = measure_training(config, load(config), seconds=SECONDS, figures=False)
        for training in same_size:
            durations[training.part].append(measured.pace.of(measured.work) + measured.finish)
        # A new training state is written before the previous one is deleted, and none remains.
        disk, disk_peak = disk + len(same_size) * measured.run, max(disk_peak, 2 * measured.state)
    parts = tuple(
        EstimatePart(part, format_count(len(each), "training"), sum(each, Duration(0, 0)))
        for part, each in durations.items()
    )
    notes = [f"one training of each size was timed: {format_count(len(sizes), 'size')}"]
    if any(training.state == UNFINISHED for training in missing):
        notes.append("unfinished trainings are counted in full")
    if not missing:
        return CommandEstimate((), peak_memory(), 0, 0, ("all trainings are finished; only the page is missing",))
    multistep = sum(training.multistep for training in missing)
    untimed = f"{format_count(multistep, 'forecast')} of many days, " if multistep else ""
    notes.append(f"not included: {untimed}the figures, and the page")
    return CommandEstimate(parts, peak_memory(), disk, disk_peak, (*notes, MEMORY))


def _size(config: Config) -> str:
    """Return a key that is equal for trainings of equal duration."""
    values = config.to_dict()
    return repr((type(config).__name__, {name: value for name, value in values.items() if name not in SAME_SIZE}))
