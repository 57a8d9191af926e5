"""Rows known to be anomalies are no normal rows."""

from pathlib import Path

import numpy as np
import pytest

from lstm_ae.config import Reading, Series
from lstm_ae.data.checks import inspect_table
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.studies.series.defaults import load_complete

ANOMALIES = (*range(20, 23), 72)


def table(yes: str = "1", no: str = "0") -> Path:
    """100 rows, each as many as its number; four are known to be anomalies, one of them in the validation part."""
    rows = [f"{row},{yes if row in ANOMALIES else no}" for row in range(100)]
    path = Path("t.csv")
    path.write_text("\n".join(("a,failure", *rows)) + "\n")
    return path


@pytest.mark.parametrize("task", ["anomaly", "reconstruct"])
@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("True", "False")])
def test_known_anomalies_are_no_normal_rows(task: str, yes: str, no: str) -> None:
    """Neither the weights, nor the epoch, the scale or the threshold come from a window that holds one."""
    config = Series(data=str(table(yes, no)), label_col="failure", window=5, scale="minmax", task=task)
    data = load_complete(config).data
    for split in (data.train, data.validation):
        assert split.samples
        assert not np.isin(split.windows(), ANOMALIES).any()
        assert not np.isin(split.series, ANOMALIES).any()
    assert np.isin(data.test.series, ANOMALIES).sum() == len(ANOMALIES)
    assert data.train.samples == 70 - 3 - 2 * 4  # what is left before and after has ends of its own
    assert any("4 rows known to be anomalies" in note for note in data.source.notes)


def test_other_labels_are_refused_before_a_training() -> None:
    with pytest.raises(ConfigError, match="--label-col must hold 0 and 1"):
        load_complete(Series(data=str(table("broken", "fine")), label_col="failure", window=5))


def test_a_forecast_learns_from_all_rows() -> None:
    config = Series(data=str(table()), label_col="failure", window=5, horizon=2, task="forecast")
    assert np.isin(load_complete(config).data.train.series, ANOMALIES).sum() == 3


def marked(share: float) -> str:
    """1,500 rows that repeat themselves after 24, so many of them marked here and there."""
    marks = np.random.default_rng(0).random(1500) < share
    rows = [f"{row % 24},{int(mark)}" for row, mark in enumerate(marks)]
    Path("t.csv").write_text("\n".join(("a,failure", *rows)) + "\n")
    return "t.csv"


@pytest.mark.parametrize("share", [0.1, 0.2])
@pytest.mark.parametrize("window", [5, None])
def test_a_check_tells_the_windows_that_a_training_has(share: float, window: int | None) -> None:
    options = {"data": marked(share), "label_col": "failure", "window": window}
    found, data = inspect_table(Reading(**options)), load_complete(Series(**options)).data
    assert found.windows == (data.train.samples, data.validation.samples, data.test.samples)
    assert found.prepared.window == data.train.span
    assert found.usable


def test_where_known_anomalies_leave_no_window_both_say_so() -> None:
    options = {"data": marked(0.2), "label_col": "failure", "window": 40}
    with pytest.raises(DataError, match=r"\d rows known to be anomalies are in no window .*: pass a shorter --window"):
        load_complete(Series(**options))
    (problem,) = [finding for finding in inspect_table(Reading(**options)).findings if finding.fatal]
    assert "rows known to be anomalies" in problem.text
    load_complete(Series(**options | problem.fixes[0]))
    assert inspect_table(Reading(**options, horizon=5)).usable  # a forecast learns from all rows


def test_a_check_tells_of_labels_that_are_no_flags() -> None:
    found = inspect_table(Reading(data=str(table("broken", "fine")), label_col="failure", window=5))
    assert [finding.text.partition(" holds")[0] for finding in found.findings if "--task classify" in finding.text] == [
        "'failure'"
    ]
    assert found.usable
