"""Series, labels, and scores of the reference values of the TSB-AD benchmark, made from seeds."""

import numpy as np

# Name: rows, labeled ranges, decimals of the scores (few make ties), shift of the scores in labeled ranges, buffer.
CASES = {
    "one range": (1000, [(400, 460)], 9, 1.0, 50),
    "ties": (1200, [(300, 340), (900, 905)], 0, 1.5, 40),
    "fewer rows than thresholds": (90, [(30, 41)], 9, 1.0, 12),
    "first and last row": (700, [(0, 20), (680, 700)], 9, 0.7, 61),
    "short ranges whose slopes meet": (900, [(5 * k, 5 * k + 1 + k % 3) for k in range(20, 90, 2)], 2, 0.8, 30),
    "many single rows": (2000, [(37 * k, 37 * k + 1) for k in range(1, 50)], 9, 2.0, 125),
    "slopes that touch": (400, [(100, 110), (120, 130), (150, 160)], 9, 0.6, 20),
    "no buffer": (500, [(200, 230)], 9, 1.0, 0),
    "perfect": (600, [(250, 300)], 9, 50.0, 25),
    "inverse": (600, [(250, 300)], 9, -50.0, 25),
    "two levels": (500, [(100, 150)], -1, 5.0, 33),
    "long": (6000, [(1000, 1400), (1450, 1460), (3000, 3001), (5200, 5900)], 9, 0.4, 303),
}


def labels_and_scores(name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Return labels, scores, and the buffer of a case."""
    rows, ranges, decimals, shift, buffer = CASES[name]
    labels = np.zeros(rows, int)
    for start, stop in ranges:
        labels[start:stop] = 1
    noise = np.random.default_rng(list(CASES).index(name)).normal(size=rows)
    return labels, (noise + shift * labels).round(decimals), buffer


def series(name: str) -> np.ndarray:
    """Return a series whose period the benchmark infers."""
    row, random = np.arange(3000), np.random.default_rng(7)
    return {
        "sine of 50 rows": np.sin(2 * np.pi * row / 50),
        "noisy sine of 24 rows": np.sin(2 * np.pi * row / 24) + random.normal(0, 0.3, 3000),
        "two periods": np.sin(2 * np.pi * row / 20) + 2 * np.sin(2 * np.pi * row / 140),
        "period of 350 rows": np.sin(2 * np.pi * row / 350),
        "noise": random.normal(size=3000),
        "random walk": random.normal(size=3000).cumsum(),
        "line": row / 3000,
        "constant": np.full(3000, 4.0),
        "few rows": np.sin(2 * np.pi * row[:60] / 9),
        "many rows": np.sin(2 * np.pi * np.arange(25_000) / np.r_[np.full(20_000, 40), np.full(5000, 60)]),
        "short period": np.tile([0.0, 3.0, 1.0, -2.0], 750),
    }[name]
