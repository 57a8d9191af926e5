"""Rows labeled as anomalies are excluded from the normal rows."""

from pathlib import Path

import numpy as np
import pytest

from lstm_ae.checks.table import inspect_table
from lstm_ae.config import Reading, Series
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.studies.series.defaults import load_complete

ANOMALIES = (*range(20, 23), 72)


def table(yes: str = "1", no: str = "0") -> Path:
    """Write 100 rows whose value is the row number; four are labeled as anomalies, one of them in validation."""
    rows = [f"{row},{yes if row in ANOMALIES else no}" for row in range(100)]
    path = Path("t.csv")
    path.write_text("\n".join(("a,failure", *rows)) + "\n")
    return path


@pytest.mark.parametrize("task", ["anomaly", "reconstruct"])
@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("True", "False")])
def test_known_anomalies_are_excluded_from_training_and_validation(task: str, yes: str, no: str) -> None:
    """The weights, the best epoch, the scale, and the threshold depend on no window with an anomaly."""
    config = Series(data=str(table(yes, no)), label_col="failure", window=5, scale="minmax", task=task)
    data = load_complete(config).data
    for split in (data.train, data.validation):
        assert split.samples
        assert not np.isin(split.windows(), ANOMALIES).any()
        assert not np.isin(split.series, ANOMALIES).any()
    assert np.isin(data.test.series, ANOMALIES).sum() == len(ANOMALIES)
    assert data.train.samples == 70 - 3 - 2 * 4  # the rows before and after the anomalies are separate segments
    assert any("4 rows known to be anomalies" in note for note in data.source.notes)


def test_anomaly_labels_other_than_0_and_1_are_rejected() -> None:
    with pytest.raises(ConfigError, match="--label-col must hold 0 and 1"):
        load_complete(Series(data=str(table("broken", "fine")), label_col="failure", window=5))


def test_forecast_trains_on_rows_with_known_anomalies() -> None:
    config = Series(data=str(table()), label_col="failure", window=5, horizon=2, task="forecast")
    assert np.isin(load_complete(config).data.train.series, ANOMALIES).sum() == 3


def marked(share: float) -> str:
    """Write 1,500 rows with a period of 24 and label a random share of them as anomalies."""
    marks = np.random.default_rng(0).random(1500) < share
    rows = [f"{row % 24},{int(mark)}" for row, mark in enumerate(marks)]
    Path("t.csv").write_text("\n".join(("a,failure", *rows)) + "\n")
    return "t.csv"


@pytest.mark.parametrize("share", [0.1, 0.2])
@pytest.mark.parametrize("window", [5, None])
def test_check_reports_the_windows_of_training(share: float, window: int | None) -> None:
    options = {"data": marked(share), "label_col": "failure", "window": window}
    found, data = inspect_table(Reading(**options)), load_complete(Series(**options)).data
    assert found.windows == (data.train.samples, data.validation.samples, data.test.samples)
    assert found.prepared.window == data.train.span
    assert found.usable


def test_check_and_training_report_when_anomalies_leave_no_window() -> None:
    options = {"data": marked(0.2), "label_col": "failure", "window": 40}
    with pytest.raises(DataError, match=r"\d rows known to be anomalies, in .* a shorter --window"):
        load_complete(Series(**options))
    (problem,) = [finding for finding in inspect_table(Reading(**options)).findings if finding.fatal]
    assert "rows known to be anomalies" in problem.text
    load_complete(Series(**options | problem.fixes[0]))
    assert inspect_table(Reading(**options, horizon=5)).usable  # a forecast trains on all rows
