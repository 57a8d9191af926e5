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
        grid: settings of the generated signal's grid as (learning rate, units, clip); None for all 18. Each value of
            each option must be in one of them.
        weights: reconstruction weights of the digits.
        epochs: epochs of each kind of training; "pixels" for digits read pixel by pixel, "prices" for forecasts, and
            "back" for reconstructions of prices.
        batch_size: batch size for prices.
        duration: usual duration on two cores.
        whole: whether the level trains on all data, for at least as many epochs as the source report's program.
        note: limits of its results.
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
    duration: str
    whole: bool
    note: str


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
            duration="a few minutes",
            whole=False,
            note="Smoke test: a small subset of the data and settings, one epoch, one seed. It checks that everything "
            "runs; its values are not comparable with the report's.",
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
            duration="about half an hour",
            whole=False,
            note="Short: a subset of the data, few epochs, two seeds. The verdicts hold only for these.",
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
            duration="one and a half to two hours",
            whole=True,
            note="Full: all available data, three seeds.",
        ),
    )
}


def find_level(name: str) -> TourLevel:
    """Return a level by name.

    Raises:
        ConfigError: there is no such level.
    """
    if name not in LEVELS:
        raise ConfigError(f"--level must be one of {', '.join(LEVELS)}. Received: {name[:40]!r}")
    return LEVELS[name]
