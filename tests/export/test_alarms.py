"""Alarms of the exported graph equal those of tables."""

from typing import Any

import numpy as np
import pytest

from lstm_ae.detection.events import CHANGED, AlarmRule, ScoredRows, find_events
from lstm_ae.detection.tail import RECENT_BLOCKS


def alarms_of_graph(scores: Any, begins: Any, rule: AlarmRule) -> Any:
    """Return which rows raise an alarm, by a graph."""
    import tensorflow as tf

    from lstm_ae.export.score_endpoint import find_alarms

    return tf.function(lambda scores, begins: find_alarms(scores, begins, rule))(scores, begins).numpy()


@pytest.mark.parametrize("maxima", [None, 0, 2, RECENT_BLOCKS])
def test_alarms_of_the_graph_equal_those_of_the_table(maxima: int | None) -> None:
    """Random scores with jumps, missing scores, and gaps, in batches whose series change."""
    random, alarms, changes = np.random.default_rng(maxima), 0, 0
    for join in (2, 5, 9):
        shape = (4, 600)
        scores = np.exp(random.normal(0, 0.4, shape) + np.cumsum(random.normal(0, 0.06, shape), axis=1))
        scores[random.random(shape) < 0.01] *= 6
        scores[random.random(shape) < 0.05] = np.nan
        scores, begins = scores.astype(np.float32), random.random(shape) < 0.01
        begins[:, 0] = True
        prior = None if maxima is None else tuple(random.normal(0.5, 0.3, maxima))
        rule = AlarmRule(1.8, join, prior)
        found = alarms_of_graph(scores, begins, rule)
        for own, first, row in zip(scores.astype(float), begins, found, strict=True):
            times, zeros = np.arange(len(own)), np.zeros(len(own))
            table = ScoredRows(
                series=zeros, times=times, begins=first, scores=own, p=zeros, windows=own, errors=zeros[:, None]
            )
            events = find_events(table, rule).events
            assert np.flatnonzero(row).tolist() == [event.alarm for event in events]
            alarms, changes = alarms + len(events), changes + sum(event.kind == CHANGED for event in events)
    assert alarms > 100
    assert (changes > 0) == (maxima is not None)
