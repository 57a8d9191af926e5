"""Rows known to be anomalies are no normal rows."""

from pathlib import Path

import numpy as np
import pytest

from lstm_ae.config import Series
from lstm_ae.errors import ConfigError
from lstm_ae.tasks.series.settling import settle

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
    data = settle(config).data
    for split in (data.train, data.validation):
        assert split.samples
        assert not np.isin(split.windows(), ANOMALIES).any()
        assert not np.isin(split.series, ANOMALIES).any()
    assert np.isin(data.test.series, ANOMALIES).sum() == len(ANOMALIES)
    assert data.train.samples == 70 - 3 - 2 * 4  # what is left before and after has ends of its own
    assert any("4 rows known to be anomalies" in note for note in data.source.notes)


def test_other_labels_are_refused_before_a_training() -> None:
    with pytest.raises(ConfigError, match="--label-col must hold 0 and 1"):
        settle(Series(data=str(table("broken", "fine")), label_col="failure", window=5))


def test_a_forecast_learns_from_all_rows() -> None:
    config = Series(data=str(table()), label_col="failure", window=5, horizon=2, task="forecast")
    assert np.isin(settle(config).data.train.series, ANOMALIES).sum() == 3
