"""What a tour takes: a training of each size is timed, and all that are missing are counted."""

from collections.abc import Callable, Sequence

from lstm_ae.config import Config
from lstm_ae.data.windows import Data
from lstm_ae.estimate.durations import CommandEstimate, Duration, EstimatePart
from lstm_ae.estimate.memory import peak_memory
from lstm_ae.estimate.searches import SAME_SIZE
from lstm_ae.estimate.training import MEMORY, MeasuredTraining, measure_training
from lstm_ae.formatting import format_count
from lstm_ae.tour.runs import THERE, UNFINISHED, TourTraining

# Seconds of training steps to time, of each size.
SECONDS = 1.0


def estimate_tour(
    legs: Sequence[TourTraining],
    load: Callable[[Config], Data],
    notify: Callable[[int, int], None] = lambda number, of: None,
) -> CommandEstimate:
    """What `lstm_ae.tour.runs.run_tour` takes.

    Args:
        notify: is told which of how many sizes is timed next, from 1.
    """
    todo = [leg for leg in legs if leg.state != THERE]
    sizes: dict[str, list[TourTraining]] = {}
    for leg in todo:
        sizes.setdefault(_size(leg.config), []).append(leg)
    durations: dict[str, list[Duration]] = {leg.part: [] for leg in todo}
    disk = meanwhile = 0
    for number, alike in enumerate(sizes.values(), 1):
        notify(number, len(sizes))
        config = alike[0].config
        # The figures of one training in each part are all that is drawn.
        found = measure_training(config, load(config), seconds=SECONDS, figures=False)
        for leg in alike:
            durations[leg.part].append(_whole(found))
        # The next state is written beside the last one, and none stays.
        disk, meanwhile = disk + len(alike) * found.run, max(meanwhile, 2 * found.state)
    parts = tuple(
        EstimatePart(part, format_count(len(each), "training"), sum(each, Duration(0, 0)))
        for part, each in durations.items()
    )
    notes = [f"{format_count(len(sizes), 'size')} of trainings were timed, and all of a size are taken to be alike"]
    if any(leg.state == UNFINISHED for leg in todo):
        notes.append("what is unfinished is counted as a whole")
    if not todo:
        return CommandEstimate((), peak_memory(), 0, 0, ("all trainings are there; the page alone would be written",))
    rolled = sum(leg.rolled for leg in todo)
    untimed = f"{format_count(rolled, 'forecast')} of many days, " if rolled else ""
    notes.append(f"{untimed}the figures and the page come on top, and were not timed")
    return CommandEstimate(parts, peak_memory(), disk, meanwhile, (*notes, MEMORY))


def _whole(found: MeasuredTraining) -> Duration:
    return found.pace.of(found.work) + found.finish


def _size(config: Config) -> str:
    """What two trainings must have in common to take as long."""
    values = config.to_dict()
    return repr((type(config).__name__, {name: value for name, value in values.items() if name not in SAME_SIZE}))
