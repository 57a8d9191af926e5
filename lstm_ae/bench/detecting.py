"""A table searched for anomalies as `lstmae series detect` does it, and by Keras window by window."""

import functools
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.bench.turns import Contestant, Lap
from lstm_ae.config import Series
from lstm_ae.data.frames import measurements_of
from lstm_ae.data.measurements import Measurements


class Search(NamedTuple):
    """What is searched, by what: steps of a window, hidden units, columns and rows of the table."""

    window: int
    units: int
    features: int
    rows: int


def contestants(search: Search, rounds: int) -> dict[str, Contestant]:
    """Ours and Keras, and of ours the scores alone: no principal components beside them, no threshold, no events."""
    return {
        "ours": functools.partial(_search, search, rounds, "auto"),
        "keras": functools.partial(_search, search, rounds, "keras"),
        "ours, the scores alone": functools.partial(_score, search, rounds, "auto"),
        "keras, the scores alone": functools.partial(_score, search, rounds, "keras"),
    }


def table_of(search: Search, rows: int) -> Measurements:
    """Made-up columns with a season of a window each."""
    step = 2 * np.pi * np.arange(rows)[:, None] / search.window
    noise = np.random.default_rng(0).normal(0, 0.1, (rows, search.features))
    names = [f"value {number}" for number in range(search.features)]
    return measurements_of(np.sin(step + np.arange(search.features)) + noise, names)


def _detector(search: Search, kernel: str) -> Any:
    """An untrained one, which is as fast as any."""
    from lstm_ae.anomaly.normal import of_windows
    from lstm_ae.data.levels import Levels
    from lstm_ae.detection import Detector
    from lstm_ae.halves import halves_of
    from lstm_ae.tasks import series
    from lstm_ae.tasks.series import codes, settling

    config = Series(window=search.window, units=search.units, freq="rows", max_gap=0)
    config, data = settling.settle_table(config, table_of(search, 20 * search.window))
    model = series.build(config, data)
    normal = codes.normal(model, data, config)
    by_components = of_windows(codes.errors_of_components(normal.components, data.scale), search.window)
    return Detector(config, normal, Levels(data.scale), halves_of(model, config.scale, kernel).errors, by_components)


def _search(search: Search, rounds: int, kernel: str, lap: Lap) -> None:
    from lstm_ae import detection
    from lstm_ae.tasks.series.settling import whole

    detector = _detector(search, kernel)
    table = table_of(search, search.rows)
    for _ in range(rounds + 1):
        detection.search(detector, whole(detector.config, table))
        lap()


def _score(search: Search, rounds: int, kernel: str, lap: Lap) -> None:
    from lstm_ae.anomaly.normal import score_rows

    detector = _detector(search, kernel)
    values, segment = table_of(search, search.rows).values, np.zeros(search.rows, np.int32)
    for _ in range(rounds + 1):
        score_rows(detector.ours, values, segment, search.window, detector.normal.smooth)
        lap()
