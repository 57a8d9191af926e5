"""Dates and times of day in two columns are refused with both remedies, and never averaged by advice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lstm_ae.checks.table import inspect_table
from lstm_ae.config import Reading
from lstm_ae.data.preparation import prepare_table
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import Code, DataError

HOURS = pd.date_range("2024-01-30", periods=96, freq="h")
FRAME = pd.DataFrame({"Date": HOURS.strftime("%Y-%m-%d"), "a": np.arange(96.0), "b": 0.5})


@pytest.mark.parametrize(
    ("clock", "each"),
    [
        (HOURS.strftime("%H:%M:%S"), 1),
        (HOURS.strftime("%H.%M"), 1),
        (HOURS.time, 1),
        (HOURS.strftime("%I:%M %p"), 8),
        (HOURS.hour, 1),
        (HOURS.hour + 1, 12),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_dates_beside_times_of_day_are_refused_with_both_remedies(clock: Any, each: int, suffix: str) -> None:
    frame = FRAME.assign(hour=clock)[::each]
    getattr(frame, f"to_{suffix}")(f"t.{suffix}", index=False)
    config = Reading(data=f"t.{suffix}", value_cols=("a",), window=4)
    table = read_panel(config)
    assert table.layout.id_candidates == ()
    finding = inspect_table(config).findings[0]
    assert (finding.fatal, finding.fixes) == (True, ())
    with pytest.raises(DataError, match=r"--id-col .*frame\['time'\] = ") as caught:
        prepare_table(config, table)
    assert caught.value.code is Code.TIME_ORDER
    for text in (finding.text, str(caught.value)):
        assert "--id-col" in text
        assert "frame.pop" in text
        assert "mean" not in text
    # Rows of a day are merged on request.
    merged = prepare_table(replace(config, duplicates="mean", split="0.5,0.5,0"), table)
    assert len(merged.grid.times) == 4


def test_rows_of_a_date_joined_with_its_hour_are_read() -> None:
    time = FRAME["Date"] + " " + HOURS.hour.astype(str)
    pd.DataFrame({"time": time, "a": FRAME["a"]}).to_csv(Path("t.csv"), index=False)
    assert read_panel(Reading(data="t.csv")).times.tolist() == HOURS.as_unit("ns").astype(np.int64).tolist()
