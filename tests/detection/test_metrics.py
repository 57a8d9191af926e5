"""Detection metrics: by hand, against aeon and TSB-AD, by the definition, and where they are undefined."""

import numpy as np
import pytest
from benchmark_series import CASES, labels_and_scores, series
from sklearn.metrics import average_precision_score, roc_auc_score

from lstm_ae.detection.events import Event
from lstm_ae.detection.metrics import (
    event_metrics,
    ranking_metrics,
    tsb_ad_buffer,
    tsb_ad_vus_pr,
    volume_under_surface,
)
from lstm_ae.errors import DataError


def case(rows: int, labelled: list[tuple[int, int]], shift: float, digits: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and periodic scores that are higher around the labels."""
    labels = np.zeros(rows, int)
    for start, stop in labelled:
        labels[start:stop] = 1
    scores = (np.arange(rows) * 37 % 101) / 101 + shift * np.convolve(labels, np.ones(5) / 5, "same")
    return labels, scores.round(digits)


@pytest.mark.parametrize(
    ("made", "buffer", "pr", "roc"),
    [
        (case(60, [(20, 30)], 0.5), 10, 0.686523680313, 0.868948523813),
        (case(200, [(30, 50), (56, 60)], 0.5), 24, 0.643473130915, 0.864071682684),
        (case(150, [(0, 5), (140, 150)], 0.8), 15, 0.711688441873, 0.912277462668),
        (case(240, [(10, 12), (15, 16), (18, 20), (100, 130), (135, 140)], 0.3), 40, 0.578844377183, 0.777253014261),
        (case(200, [(50, 80)], 0.5, digits=1), 20, 0.674293279155, 0.856417753769),
    ],
)
def test_vus_equals_that_of_aeon(made: tuple[np.ndarray, np.ndarray], buffer: int, pr: float, roc: float) -> None:
    """Compare with `range_pr_vus_score` and `range_roc_vus_score` of aeon 1.6.0 for at most 250 thresholds.

    On longer series, aeon selects 250 of the thresholds; on 20,000 rows, the difference was 0.004.
    """
    assert volume_under_surface(*made, buffer) == pytest.approx((pr, roc), abs=1e-11)


# VUS-PR and AUC-PR of TSB-AD 1.5 (`get_metrics` with 250 thresholds) for the cases of `benchmark_series`.
BENCHMARK_METRICS = {
    "one range": (0.332890359820, 0.315975385239),
    "ties": (0.196287851509, 0.164549430276),
    "fewer rows than thresholds": (0.510308630899, 0.423627809812),
    "first and last row": (0.202971101985, 0.148217017880),
    "short ranges whose slopes meet": (0.506402814751, 0.268941218414),
    "many single rows": (0.849973741297, 0.481612981461),
    "slopes that touch": (0.185976370013, 0.129038771028),
    "no buffer": (0.205195795623, 0.206900183192),
    "perfect": (0.999607843137, 1.000000000000),
    "inverse": (0.052190826139, 0.043707702441),
    "two levels": (0.458854326504, 0.442000000000),
    "long": (0.347363219192, 0.274294100262),
}

# `find_length_rank` of TSB-AD 1.5 with statsmodels 0.15.0.
BENCHMARK_BUFFERS = {
    "sine of 50 rows": 50,
    "noisy sine of 24 rows": 24,
    "two periods": 140,
    "period of 350 rows": 125,
    "noise": 180,
    "random walk": 125,
    "line": 125,
    "constant": 125,
    "few rows": 9,
    "many rows": 40,
    "short period": 125,
}


@pytest.mark.parametrize("name", CASES)
def test_vus_pr_and_auc_pr_equal_those_of_tsb_ad(name: str) -> None:
    labels, scores, buffer = labels_and_scores(name)
    vus_pr, auc_pr = BENCHMARK_METRICS[name]
    assert tsb_ad_vus_pr(labels, scores, buffer) == pytest.approx(vus_pr, abs=1e-9)
    assert ranking_metrics(labels, scores, 0).auc_pr == pytest.approx(auc_pr, abs=1e-9)


@pytest.mark.parametrize("name", BENCHMARK_BUFFERS)
def test_buffer_equals_that_of_tsb_ad(name: str) -> None:
    assert tsb_ad_buffer(series(name)) == BENCHMARK_BUFFERS[name]


def test_tsb_ad_vus_pr_needs_a_score_for_every_row() -> None:
    labels = np.array([0, 1, 0])
    with pytest.raises(DataError, match="lowest score"):
        tsb_ad_vus_pr(labels, np.array([0, np.nan, 1]), 1)
    assert np.isnan(tsb_ad_vus_pr(np.zeros(3), np.arange(3.0), 1))


@pytest.mark.parametrize("digits", [6, 1], ids=["distinct", "ties"])
def test_areas_equal_those_of_scikit_learn(digits: int) -> None:
    labels, scores = case(200, [(50, 80)], 0.5, digits)
    found = ranking_metrics(labels, scores, 0)
    assert found.auc_pr == pytest.approx(average_precision_score(labels, scores))
    assert found.auc_roc == pytest.approx(roc_auc_score(labels, scores)) == pytest.approx(found.vus_roc)


def test_ranking_metrics_of_constant_scores() -> None:
    labels = np.array([0, 1, 1, 0, 0, 0, 0, 0])
    assert ranking_metrics(labels, np.full(8, 3.0), 0) == (0.25, 0.5, 0.25, 0.5)


def test_ranking_metrics_if_all_labels_are_equal() -> None:
    scores = np.arange(5.0)
    assert np.isnan(ranking_metrics(np.zeros(5), scores, 3)).all()
    assert np.isnan(ranking_metrics(np.ones(5), np.full(5, np.nan), 3)).all()
    everything = ranking_metrics(np.ones(5), scores, 3)
    assert everything[::2] == (1, 1)
    assert np.isnan(everything[1::2]).all()


def test_ranking_metrics_ignore_rows_without_a_score() -> None:
    labels, scores = case(200, [(50, 80), (120, 124)], 0.5)
    gaps = scores.copy()
    gaps[120:124] = np.nan
    less = np.where(np.arange(200) < 118, labels, 0)
    assert ranking_metrics(labels, gaps, 0) == pytest.approx(
        ranking_metrics(np.delete(less, range(120, 124)), np.delete(scores, range(120, 124)), 0)
    )
    assert np.isfinite(ranking_metrics(labels, gaps, 30)).all()


def test_label_slopes_do_not_cross_segments() -> None:
    labels, scores = case(100, [(40, 50)], 0.5)
    segment = np.arange(100) // 50
    alone = volume_under_surface(labels, scores, 20, segment)
    assert alone != volume_under_surface(labels, scores, 20)
    far = np.insert(labels, 50, [0] * 30), np.insert(scores, 50, [np.nan] * 30)
    assert alone == pytest.approx(volume_under_surface(*far, 20))


def event(first: int, last: int) -> Event:
    return Event(first, last, first, 1.0, 0.1, (1.0,), False, first)


LABELS = np.zeros(100, bool)
LABELS[[*range(20, 30), *range(50, 60), *range(80, 85)]] = True
SCORES = np.zeros(100)


def test_event_metrics_by_hand() -> None:
    events = [event(5, 6), event(15, 21), event(25, 26), event(57, 70), event(72, 79)]
    found = event_metrics(LABELS, SCORES, events)
    assert found.precision == 3 / 5
    assert found.recall == 2 / 3
    assert found.f1 == pytest.approx(2 * 0.6 * (2 / 3) / (0.6 + 2 / 3))
    assert (found.found, found.ranges, found.false, found.events) == (2, 3, 2, 5)
    assert found.delays == (0, 7)


def test_one_event_over_two_ranges_detects_both() -> None:
    found = event_metrics(LABELS, SCORES, [event(29, 50)])
    assert (found.precision, found.recall, found.delays) == (1, 2 / 3, (9, 0))


def test_event_metrics_do_not_use_point_adjustment() -> None:
    """One step in a range is one late detection; the other rows of the range are not counted as detected."""
    scores = np.zeros(100)
    scores[59] = 1
    found = event_metrics(LABELS, scores, [event(59, 59)])
    assert (found.found, found.delays) == (1, (9,))
    assert ranking_metrics(LABELS, scores, 0).auc_pr < 0.3


def test_event_metrics_without_events_or_labels() -> None:
    none = event_metrics(LABELS, SCORES, [])
    assert np.isnan(none.precision)
    assert (none.recall, none.f1, none.false, none.delays) == (0, 0, 0, ())
    nothing = event_metrics(np.zeros(100), SCORES, [event(3, 4)])
    assert np.isnan([nothing.recall, nothing.f1]).all()
    assert (nothing.precision, nothing.false) == (0, 1)
    assert np.isnan(event_metrics(np.zeros(100), SCORES, [])[:3]).all()


def test_event_metrics_ignore_ranges_without_a_score() -> None:
    scores = SCORES.copy()
    scores[80:85] = np.nan
    assert event_metrics(LABELS, scores, [event(20, 20)]).ranges == 2


def test_metrics_refuse_unequal_lengths_and_infinite_scores() -> None:
    with pytest.raises(DataError, match=r"one value per row. Received: \(3,\) and \(4,\)"):
        ranking_metrics(np.zeros(3), np.zeros(4), 1)
    with pytest.raises(DataError, match="Scores must be finite"):
        volume_under_surface(np.ones(2), np.array([1, np.inf]), 1)
