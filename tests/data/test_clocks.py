"""Dates and times of day in two columns are refused in the tables of a run and in Parquet, too."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lstm_ae.config import Reading
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import DataError

HOURS = pd.date_range("2024-01-30", periods=96, freq="h")


def test_dates_and_times_of_day_are_refused_in_tables_of_a_run_and_in_parquet() -> None:
    rows = [f"{hour:%d/%m/%Y;%H:%M:%S};{k % 7};{k % 5}.5" for k, hour in enumerate(HOURS)]
    Path("t.csv").write_text("\n".join(["Date;Time;a;b", *rows]))
    options: dict[str, Any] = {"time_col": "Date", "value_cols": ("a",)}
    pd.DataFrame({"Date": HOURS.date, "Time": HOURS.time, "a": np.arange(96.0)}).to_parquet("t.parquet")
    for given, of_run in (
        ({"data": "t.csv", **options}, True),
        ({"data": "t.csv", "duplicates": "mean"}, False),
        ({"data": "t.csv", "duplicates": "mean", "time_format": "%d/%m/%Y"}, False),
        ({"data": "t.parquet"}, False),
    ):
        with pytest.raises(DataError, match="'Time' holds the time of day"):
            read_panel(Reading(**given), of_run=of_run)  # type: ignore[arg-type]
    # Rows of a day are merged on request only.
    assert len(np.unique(read_panel(Reading(data="t.csv", duplicates="mean", **options)).times)) == 4
