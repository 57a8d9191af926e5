"""How much of everything a tour trains on, and for how long."""

from typing import NamedTuple

from lstm_ae.errors import ConfigError

# As in the source report.
WEIGHTS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


class TourLevel(NamedTuple):
    """A size of the tour.

    Args:
        name: as it is typed.
        seeds: of every setting.
        sequences: of the synthetic signal.
        digits: of training and validation together, and of test; None for all there are.
        companies: whose prices are read; None for all there are.
        grid: settings of the signal's grid to train, as (learning rate, units, clip); None for all 18. Each value of
            each option must be in one of them.
        weights: shares of the reconstruction in the loss of digits to train.
        epochs: by study; "pixels" are the digits read pixel by pixel, "prices" the forecasts and "back" the
            reconstructions of prices.
        batch_size: of prices.
        whole: whether it trains on everything, as long as the source report's program by default.
        says: what a reader must know of its numbers.
    """

    name: str
    seeds: tuple[int, ...]
    sequences: int
    digits: tuple[int, int] | None
    companies: int | None
    grid: tuple[tuple[float, int, float], ...] | None
    weights: tuple[float, ...]
    epochs: dict[str, int]
    batch_size: int
    whole: bool
    says: str


LEVELS = {
    level.name: level
    for level in (
        TourLevel(
            "smoke",
            seeds=(0,),
            sequences=500,
            digits=(600, 200),
            companies=2,
            grid=((0.1, 16, 5.0), (0.1, 8, 1.0), (0.01, 32, 5.0), (0.001, 16, 1.0)),
            weights=(0.1, 0.5, 0.9),
            epochs={"toy": 1, "digits": 1, "pixels": 1, "prices": 1, "back": 1},
            batch_size=128,
            whole=False,
            says="Only smoke: a small part of the data and of the settings, one epoch, one seed. It shows that "
            "everything runs; its numbers say nothing about the report's.",
        ),
        TourLevel(
            "short",
            seeds=(0, 1),
            sequences=12_000,
            digits=(12_000, 4000),
            companies=16,
            grid=None,
            weights=WEIGHTS,
            epochs={"toy": 10, "digits": 6, "pixels": 3, "prices": 4, "back": 3},
            batch_size=128,
            whole=False,
            says="Short: a part of the data, few epochs, two seeds. Its verdicts hold for these alone.",
        ),
        TourLevel(
            "full",
            seeds=(0, 1, 2),
            sequences=60_000,
            digits=None,
            companies=None,
            grid=None,
            weights=WEIGHTS,
            epochs={"toy": 10, "digits": 10, "pixels": 8, "prices": 10, "back": 3},
            batch_size=1024,
            whole=True,
            says="Full: all the data there is, three seeds.",
        ),
    )
}


def find_level(name: str) -> TourLevel:
    """The level of a name; raises `ConfigError` where there is none."""
    if name not in LEVELS:
        raise ConfigError(f"--level must be one of {', '.join(LEVELS)}. Received: {name[:40]!r}")
    return LEVELS[name]
