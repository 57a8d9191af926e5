"""Fingerprints detect training windows in other tables by their values, not by their times."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ae.config import Reading
from lstm_ae.data import fingerprints
from lstm_ae.data.fingerprints import WindowFingerprints, describe_known_windows, fingerprint_windows, hash_windows
from lstm_ae.data.preparation import PreparedTable, load_series, prepare_table
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import DataError

WINDOW = 8
HOURS = np.datetime_as_string(np.datetime64("2024-01-01T00:00") + 60 * np.arange(400).astype("timedelta64[m]"))


def table_of(values: np.ndarray, times: Any = HOURS, **options: Any) -> tuple[Reading, PreparedTable]:
    rows = [f"{time},{'' if np.isnan(value) else value}" for time, value in zip(times, values.tolist(), strict=False)]
    Path("t.csv").write_text("\n".join(["t,a", *rows]) + "\n")
    config = Reading(data="t.csv", window=WINDOW, **options)
    return config, prepare_table(config, read_panel(config))


def noise(seed: int, rows: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=rows).round(3)


def test_hash_windows_identifies_nonconstant_windows_by_value() -> None:
    values = np.random.default_rng(0).integers(0, 2, size=(300, 2)).astype(np.float32)
    values[40:44, 0] = np.nan
    starts, span = np.arange(298, dtype=np.int64), 3
    prints = hash_windows(values, starts, span)
    windows = [values[start : start + span] for start in starts]
    kept = [window.tobytes() for window in windows if len(np.unique(window, axis=0)) > 1]
    assert len(prints) == len(kept)
    pairs = set(zip(prints.tolist(), kept, strict=True))
    assert len(pairs) == len(set(prints.tolist())) == len(set(kept)) > 30


def test_hash_windows_normalizes_negative_zero_and_nan() -> None:
    one = np.array([[0.0], [1.0], [np.nan]], np.float32)
    other = np.array([[-0.0], [1.0], [0.0]], np.float32)
    other.view(np.uint32)[2] = 0x7FC00001  # another NaN
    start = np.zeros(1, np.int64)
    assert hash_windows(one, start, 3).tolist() == hash_windows(other, start, 3).tolist()


@pytest.mark.parametrize("elapsed", [False, True])
def test_fingerprints_match_training_and_validation_windows_only(elapsed: bool) -> None:
    times = range(400) if elapsed else HOURS
    config, prepared = table_of(noise(0), times)
    known = fingerprint_windows(load_series(config, prepared))
    learned = 280 + 60 - 2 * (WINDOW - 1)
    assert known.windows == len(known.prints) == learned
    assert known.found_in(prepared) == (learned, 400 - WINDOW + 1)
    (note,) = describe_known_windows(prepared, known)
    assert f"{learned} of 393 windows" in note
    assert ("2024-01-01 to 2024-01-15 03:00:00" in note) == (not elapsed)
    # Neither later rows nor other rows at the same times match.
    assert describe_known_windows(table_of(noise(0)[340:], HOURS[340:])[1], known) == []
    assert describe_known_windows(table_of(noise(1), times)[1], known) == []
    # The same rows match at other times and after other rows.
    moved = table_of(np.r_[noise(1, 100), noise(0)[:100]], times)[1]
    assert known.found_in(moved) == (100 - WINDOW + 1, 200 - WINDOW + 1)
    assert describe_known_windows(moved, None) == []


def test_fingerprints_sample_windows_above_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "MAX_FINGERPRINTS", 50)
    config, prepared = table_of(noise(0))
    known = fingerprint_windows(load_series(config, prepared))
    assert (known.windows, len(known.prints)) == (326, 50)
    assert known.found_in(prepared)[0] == 326
    half, _ = known.found_in(table_of(noise(0)[:200])[1])
    assert 150 < half < 230


def test_fingerprints_ignore_constant_windows() -> None:
    values = np.where(np.arange(400) % 40 < 20, 0.0, noise(0))
    config, prepared = table_of(values)
    known = fingerprint_windows(load_series(config, prepared))
    assert known.found_in(table_of(np.r_[np.zeros(50), noise(1, 50)])[1])[0] == 0


def cycles(rows: int, seed: int) -> np.ndarray:
    """Return the values of a pump that is on or off: long regular cycles with short random changes."""
    values = np.resize(np.repeat([0.0, 1.0], 6), rows)
    random = np.random.default_rng(seed)
    values[random.integers(0, rows, rows // 25)] = 0.5
    return values


@pytest.mark.parametrize("kept", [20, 1000])
def test_fingerprints_ignore_repeating_windows(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "MAX_FINGERPRINTS", kept)
    config, prepared = table_of(cycles(400, 0))
    known = fingerprint_windows(load_series(config, prepared))
    # Windows of the regular cycle repeat, those around a change mostly do not.
    assert 20 < known.windows < 250
    # A year later the same cycles run again.
    later = [str(int(time[:4]) + 1) + time[4:] for time in HOURS]
    assert describe_known_windows(table_of(cycles(400, 1), later)[1], known) == []
    assert known.found_in(table_of(cycles(400, 0), later)[1])[0] == 0
    # Windows that repeat in the other table do not match either.
    assert known.found_in(table_of(np.resize(cycles(400, 0)[:40], 400))[1])[0] < 100
    regular, table = table_of(np.resize(np.repeat([0.0, 1.0], 6), 400))
    assert fingerprint_windows(load_series(regular, table)).windows == 0


def test_fingerprints_load_after_saving(tmp_path: Path) -> None:
    config, prepared = table_of(noise(0))
    known, path = fingerprint_windows(load_series(config, prepared)), tmp_path / "fingerprints.npz"
    known.save(path)
    again = WindowFingerprints.load(path)
    assert again.windows == known.windows
    np.testing.assert_array_equal(again.prints, known.prints)
    np.testing.assert_array_equal(again.times, known.times)
    path.write_bytes(b"PK")
    with pytest.raises(DataError, match="cannot be read"):
        WindowFingerprints.load(path)
