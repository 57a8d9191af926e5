"""The trading calendar as a time step: segments of daily prices compared with a plain loop."""

import itertools

import numpy as np
import pandas as pd
import pytest

from lstm_ae.data.frames import RowCodes, panel_from_rows
from lstm_ae.data.grid import grid_slots, infer_calendar
from lstm_ae.data.panel import run_starts


@pytest.mark.parametrize("seed", range(40))
def test_segments_of_daily_prices_end_at_missing_days_and_long_pauses(seed: int) -> None:
    random = np.random.default_rng(seed)
    # A series has nearly all days, many, or so few that pauses are long.
    shares = random.choice([0.97, 0.6, 0.1], size=1 + seed % 4)
    days = [np.flatnonzero(random.random(60) < share).tolist() or [seed] for share in shares]
    index = pd.DatetimeIndex([np.datetime64("2024-01-01") + np.timedelta64(day, "D") for own in days for day in own])
    places = np.repeat(np.arange(len(days), dtype=np.int32), list(map(len, days)))
    series = RowCodes(("symbol",), places, tuple(map(str, range(len(days)))))
    panel = panel_from_rows(np.ones((len(index), 1)), ["close"], index, series=series)
    slots, first = grid_slots(panel, infer_calendar(panel)), run_starts(panel.series)
    begins = first | (np.diff(slots, prepend=0) > 1)

    def traded(day: int) -> bool:
        listed = sum(own[0] <= day <= own[-1] for own in days)
        return 0 < listed <= 2 * sum(day in own for own in days)

    expected = []
    for own in days:
        expected.append(True)
        for early, late in itertools.pairwise(own):
            expected.append(late - early > 10 or any(map(traded, range(early + 1, late))))
    assert begins.tolist() == expected
    assert not slots[first].any()
