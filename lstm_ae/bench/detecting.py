"""Benchmark of anomaly detection: in a table, the kernels of this package against Keras on each window; in a stream."""

import dataclasses
import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lstm_ae.bench.runner import Contestant, Lap
from lstm_ae.config import Series
from lstm_ae.data.frames import panel_from_rows
from lstm_ae.data.panel import Panel

if TYPE_CHECKING:
    from lstm_ae.apply.detect import RunDetector


class DetectionLoad(NamedTuple):
    """Size of a detection.

    Args:
        window: steps of a window.
        units: hidden units.
        features: columns of the table.
        rows: rows of the table.
    """

    window: int
    units: int
    features: int
    rows: int


def contestants(search: DetectionLoad, rounds: int) -> dict[str, Contestant]:
    """Return the benchmarked implementations: full detection and calculation of scores, each by this package and Keras.

    Full detection includes the PCA baseline, the threshold, and the events.

    Args:
        search: the size of the detection.
        rounds: number of measured laps.
    """
    return {
        "ours": functools.partial(_run_detection, search, rounds, "auto"),
        "keras": functools.partial(_run_detection, search, rounds, "keras"),
        "ours, the scores alone": functools.partial(_run_scores, search, rounds, "auto"),
        "keras, the scores alone": functools.partial(_run_scores, search, rounds, "keras"),
    }


def stream_contestants(search: DetectionLoad, series: int, rounds: int) -> dict[str, Contestant]:
    """Return the benchmarked streams: one series whose rows arrive one by one, and rows of many series at once.

    Each lap scores `search.rows` rows when they arrive, by their online and final scores, after a window of rows.

    Args:
        search: the size of the detection.
        series: number of series.
        rounds: number of measured laps.
    """
    return {
        "one series, row by row": functools.partial(_run_stream, search, 1, rounds),
        f"a row of each of {series:,} series": functools.partial(_run_stream, search, series, rounds),
    }


def make_table(search: DetectionLoad, rows: int) -> Panel:
    """Return a table of noisy sine columns whose period is one window."""
    step = 2 * np.pi * np.arange(rows)[:, None] / search.window
    noise = np.random.default_rng(0).normal(0, 0.1, (rows, search.features))
    names = [f"value {number}" for number in range(search.features)]
    return panel_from_rows(np.sin(step + np.arange(search.features)) + noise, names)


def _detector(search: DetectionLoad, kernel: str) -> "RunDetector":
    """Return an untrained detector, which is as fast as a trained one."""
    from lstm_ae.apply.detect import RunDetector
    from lstm_ae.data.preparation import SeriesScales
    from lstm_ae.models.keras_network import KerasNetwork
    from lstm_ae.models.sliding import slide_windowwise, slide_with_kernels
    from lstm_ae.studies import series
    from lstm_ae.studies.series import defaults, reconstruction

    config = Series(window=search.window, units=search.units, freq="rows", max_gap=0)
    config, data = defaults.complete_from_table(config, make_table(search, 20 * search.window))
    model = KerasNetwork(series.build(config, data))
    components = reconstruction.principal_components(data, config.code or 1)
    normal = reconstruction.score_normal_rows(model, data, config, components)
    by_components = reconstruction.sliding_residuals(normal.components.residuals, data.scale, search.window)
    sliding = (slide_windowwise if kernel == "keras" else slide_with_kernels)(model, config.scale)
    return RunDetector(config, SeriesScales(data.scale), normal, sliding.residuals, by_components)


def _run_detection(search: DetectionLoad, rounds: int, kernel: str, lap: Lap) -> None:
    from lstm_ae.apply import detect
    from lstm_ae.apply.run_table import prepare_run_table

    detector = _detector(search, kernel)
    table = make_table(search, search.rows)
    for _ in range(rounds + 1):
        detect.detect_prepared(detector, prepare_run_table(detector.config, table))
        lap()


def _run_scores(search: DetectionLoad, rounds: int, kernel: str, lap: Lap) -> None:
    from lstm_ae.detection.calibration import score_rows

    detector = _detector(search, kernel)
    values, segment = make_table(search, search.rows).values, np.zeros(search.rows, np.int32)
    for _ in range(rounds + 1):
        score_rows(detector.model_residuals, detector.normal.model.calibration, values, segment, detector.normal.smooth)
        lap()


def _run_stream(search: DetectionLoad, series: int, rounds: int, lap: Lap) -> None:
    from lstm_ae.apply.stream import DetectionStream

    detector = _detector(search, "auto")
    minute = 60 * 10**9
    detector = dataclasses.replace(detector, config=dataclasses.replace(detector.config, freq="1min"))
    stream = DetectionStream(detector, "fixed:1e9", online=True)
    values, names = make_table(search, search.rows).values, [str(number) for number in range(series)]
    now = 0

    def push(count: int) -> None:
        """Push rows of `count` times."""
        nonlocal now
        for number in range(count):
            rows = values[np.arange(series) * (number + 1) % len(values)]
            stream.push(rows, np.full(series, now), names)
            now += minute

    # Windows are complete before the first lap, and the kernels are compiled.
    push(search.window)
    for _ in range(rounds + 1):
        push(max(1, search.rows // series))
        lap()
