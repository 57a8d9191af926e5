"""Detection metrics: by hand, against TSB-AD, by the definition, and where they are undefined."""

import numpy as np
import pytest
from benchmark_series import CASES, labels_and_scores, series
from detectors import event_of
from sklearn.metrics import average_precision_score

from lstm_ae.detection.metrics import event_metrics, ranking_metrics, tsb_ad_buffer
from lstm_ae.errors import Code, DataError


def case(rows: int, labelled: list[tuple[int, int]], shift: float, digits: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and periodic scores that are higher around the labels."""
    labels = np.zeros(rows, int)
    for start, stop in labelled:
        labels[start:stop] = 1
    scores = (np.arange(rows) * 37 % 101) / 101 + shift * np.convolve(labels, np.ones(5) / 5, "same")
    return labels, scores.round(digits)


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
    assert ranking_metrics(labels, scores, buffer) == pytest.approx(BENCHMARK_METRICS[name], abs=1e-9)


@pytest.mark.parametrize("name", BENCHMARK_BUFFERS)
def test_buffer_equals_that_of_tsb_ad(name: str) -> None:
    assert tsb_ad_buffer(series(name)) == BENCHMARK_BUFFERS[name]


@pytest.mark.parametrize("digits", [6, 1], ids=["distinct", "ties"])
def test_auc_pr_equals_that_of_scikit_learn(digits: int) -> None:
    labels, scores = case(200, [(50, 80)], 0.5, digits)
    assert ranking_metrics(labels, scores, 0).auc_pr == pytest.approx(average_precision_score(labels, scores))


def test_ranking_metrics_of_constant_scores_and_equal_labels() -> None:
    labels = np.array([0, 1, 1, 0, 0, 0, 0, 0])
    assert ranking_metrics(labels, np.full(8, 3.0), 0) == (0.25, 0.25)
    assert np.isnan(ranking_metrics(np.zeros(5), np.arange(5.0), 3)).all()
    assert ranking_metrics(np.ones(5), np.arange(5.0), 3) == (1, 1)


def test_label_buffers_do_not_cross_segments() -> None:
    labels, scores = case(100, [(40, 50), (55, 60)], 0.5)
    segment = np.arange(100) // 50
    alone = ranking_metrics(labels, scores, 20, segment).vus_pr
    assert alone != ranking_metrics(labels, scores, 20).vus_pr
    # The order of the series does not matter.
    other = ranking_metrics(np.roll(labels, 50), np.roll(scores, 50), 20, segment).vus_pr
    assert alone == pytest.approx(other)


LABELS = np.zeros(100, bool)
LABELS[[*range(20, 30), *range(50, 60), *range(80, 85)]] = True


def test_event_metrics_by_hand() -> None:
    events = [event_of(5, 6), event_of(15, 21), event_of(25, 26), event_of(57, 70), event_of(72, 79)]
    found = event_metrics(LABELS, events, 8)
    assert found.precision == 3 / 5
    assert found.recall == 2 / 3
    assert found.f1 == pytest.approx(2 * 0.6 * (2 / 3) / (0.6 + 2 / 3))
    assert (found.detected, found.ranges, found.false, found.events) == (2, 3, 2, 5)
    assert found.delays == (0, 7)


def test_alarms_count_from_a_quarter_window_before_a_range_to_a_window_after_it() -> None:
    """The ranges are the rows 20 to 29, 50 to 59, and 80 to 84."""
    places = [17, 18, 37, 38, 68, 78]
    found = event_metrics(LABELS, [event_of(place, place) for place in places], 8)
    assert (found.alarmed, found.alarmed_share, found.real) == (2, 2 / 3, 3)
    # An event that began long before a range detects it without an alarm.
    long = event_metrics(LABELS, [event_of(40, 52)], 8)
    assert (long.detected, long.alarmed, long.alarmed_share, long.real) == (1, 0, 0, 0)
    assert long.delays == (0,)
    # The alarm may be later than the first row.
    late = event_metrics(LABELS, [event_of(40, 55, alarm=53)], 8)
    assert (late.detected, late.alarmed, late.delays) == (1, 1, (3,))


def test_one_event_over_two_ranges_detects_both() -> None:
    found = event_metrics(LABELS, [event_of(29, 50)], 8)
    assert (found.precision, found.recall, found.delays) == (1, 2 / 3, (9, 0))


def test_event_metrics_do_not_use_point_adjustment() -> None:
    """One step in a range is one late detection; the other rows of the range are not counted as detected."""
    scores = np.zeros(100)
    scores[59] = 1
    found = event_metrics(LABELS, [event_of(59, 59)], 8)
    assert (found.detected, found.delays) == (1, (9,))
    assert ranking_metrics(LABELS, scores, 0).auc_pr < 0.3


def test_event_metrics_without_events_or_labels() -> None:
    none = event_metrics(LABELS, [], 8)
    assert np.isnan(none.precision)
    assert (none.recall, none.f1, none.false, none.alarmed_share, none.delays) == (0, 0, 0, 0, ())
    nothing = event_metrics(np.zeros(100), [event_of(3, 4)], 8)
    assert np.isnan([nothing.recall, nothing.f1, nothing.alarmed_share]).all()
    assert (nothing.precision, nothing.false) == (0, 1)
    assert np.isnan(event_metrics(np.zeros(100), [], 8)[:3]).all()


@pytest.mark.parametrize("scores", [np.zeros(4), np.array([0, np.nan, 1]), np.array([1, np.inf, 0])])
def test_metrics_refuse_unequal_lengths_and_scores_that_are_not_finite(scores: np.ndarray) -> None:
    with pytest.raises(DataError) as error:
        ranking_metrics(np.array([0, 1, 0]), scores, 1)
    assert error.value.code is Code.ARRAY_INPUT
