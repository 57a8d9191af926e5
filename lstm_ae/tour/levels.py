"""Levels of a tour: amount of data, settings, epochs, and seeds."""

from typing import NamedTuple

from lstm_ae.errors import ConfigError

# The reconstruction weights of the source report.
WEIGHTS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


class TourLevel(NamedTuple):
    """Level of a tour.

    Args:
        name: value of `--level`.
        seeds: seeds of every setting.
        sequences: number of generated sequences.
        digits: number of training and validation digits together, and of test digits; None for all.
        companies: number of companies; None for all.
        epochs: epochs of each kind of training; "pixels" for digits read pixel by pixel, "prices" for forecasts, and
            "back" for reconstructions of prices.
        grid: settings of the generated signal's grid as (learning rate, units, clip); None for all 18. Each value of
            each option must be in one of them.
        weights: reconstruction weights of the digits.
        batch_size: batch size for prices.
        whole: whether the level trains on all data, for at least as many epochs as the source report's program.
    """

    name: str
    seeds: tuple[int, ...]
    sequences: int
    digits: tuple[int, int] | None
    companies: int | None
    epochs: dict[str, int]
    grid: tuple[tuple[float, int, float], ...] | None = None
    weights: tuple[float, ...] = WEIGHTS
    batch_size: int = 128
    whole: bool = False


_SMOKE_GRID = ((0.1, 16, 5.0), (0.1, 8, 1.0), (0.01, 32, 5.0), (0.001, 16, 1.0))
_SMOKE_EPOCHS = {"toy": 1, "digits": 1, "pixels": 1, "prices": 1, "back": 1}
_SHORT_EPOCHS = {"toy": 10, "digits": 6, "pixels": 3, "prices": 4, "back": 3}
_FULL_EPOCHS = {"toy": 10, "digits": 10, "pixels": 8, "prices": 10, "back": 3}

LEVELS = {
    "smoke": TourLevel("smoke", (0,), 500, (600, 200), 2, _SMOKE_EPOCHS, _SMOKE_GRID, (0.1, 0.5, 0.9)),
    "short": TourLevel("short", (0, 1), 12_000, (12_000, 4000), 16, _SHORT_EPOCHS),
    "full": TourLevel("full", (0, 1, 2), 60_000, None, None, _FULL_EPOCHS, batch_size=1024, whole=True),
}


def find_level(name: str) -> TourLevel:
    """Return a level by name.

    Raises:
        ConfigError: there is no such level.
    """
    if name not in LEVELS:
        raise ConfigError(f"--level must be one of {', '.join(LEVELS)}. Received: {name[:40]!r}")
    return LEVELS[name]
