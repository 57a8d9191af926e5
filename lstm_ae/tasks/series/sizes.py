"""How large a code, a training step and an epoch are where nobody says it: by the table."""

from lstm_ae.config import Series
from lstm_ae.data.series import Prepared
from lstm_ae.words import count

# Numbers of a code, and the share of a window's that it may be at most.
CODE, SHARE = 16, 1 / 3
# Samples in a training step, at most and at least, and the steps that an epoch has.
MOST, LEAST, STEPS = 128, 8, 40
# Rows that the windows of an epoch hold together, at most.
ROWS = 4_000_000


def usual_code(config: Series, prepared: Prepared) -> tuple[int | None, dict[str, str]]:
    """Numbers of the code, and what is to be said of them, as `Prepared.inferred` has it.

    What is as large as the window gives everything back, also what is unusual.
    """
    if config.task not in ("anomaly", "reconstruct"):
        return None, {}
    numbers = prepared.window * len(prepared.table.layout.values)
    if config.code is None:
        code = min(CODE, max(1, int(numbers * SHARE)))
        few = {"code": f"{count(code, 'number')}, a third of the {numbers} of a window"}
        return code, few if code < CODE else {}
    if config.code < numbers:
        return config.code, {}
    words = f"{config.code} are no fewer numbers than the {numbers} of a window, which can give back anything unusual"
    return config.code, {"code": f"{words}; give a smaller --code or a longer --window"}


def usual_batch(config: Series, windows: int) -> tuple[int, tuple[str, ...]]:
    """Samples in a training step, and a note on them.

    The largest power of 2 that leaves an epoch of so many training windows its steps: in a few large steps a network
    learns less than as many principal components tell.
    """
    if config.batch_size is not None:
        return config.batch_size, ()
    size = MOST
    while size > LEAST and size * STEPS > windows:
        size //= 2
    few = f"batch_size: {size}, as there are {count(windows, 'window')} to train on"
    return size, (few,) if size < MOST else ()


def usual_epoch(config: Series, batch_size: int, windows: int, span: int) -> tuple[int | None, tuple[str, ...]]:
    """Return the training steps of an epoch, None for all windows, and a note on them.

    Windows that begin a row apart hold nearly the same rows: an epoch of a large table takes some of them, and the next
    epoch others, so that a training does not take hours.

    Args:
        windows: training windows.
        span: rows of a window and what follows it.
    """
    if config.steps_per_epoch is not None or windows * span <= ROWS:
        return config.steps_per_epoch, ()
    steps = max(ROWS // (batch_size * span), 1)
    return steps, (f"steps_per_epoch: {steps:,}, so that an epoch draws {steps * batch_size:,} of {windows:,} windows",)
