"""Directories of fleets: names of series, and damaged files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ae.errors import Code, DataError
from lstm_ae.fleets.directory import Fleet, directory_names

NAMES = st.text(min_size=1, max_size=16) | st.text(".%/aA", min_size=1, max_size=60)


@given(st.lists(NAMES, unique_by=str.casefold, max_size=8))
def test_names_are_different_and_valid(series: list[str]) -> None:
    names = directory_names(series)
    assert list(names) == series
    assert len({name.casefold() for name in names.values()}) == len(series)
    for name in names.values():
        assert 0 < len(name) <= 200
        assert not name.startswith(".")
        assert Path(name).name == name


@pytest.mark.parametrize("series", [["x", "X"], [""], ["x" * 201]])
def test_names_without_a_directory_are_refused(series: list[str]) -> None:
    with pytest.raises(DataError) as raised:
        directory_names(series)
    assert raised.value.code == Code.SERIES_NAME


def test_damaged_record_is_refused(tmp_path: Path) -> None:
    assert not Fleet(tmp_path).begun
    for series in ("", ', "series": {"a": "../.."}', ', "series": {"a": 3}', ', "series": {"a": ""}'):
        (tmp_path / "fleet.json").write_text(f'{{"format": 1{series}}}')
        assert Fleet(tmp_path).begun
        with pytest.raises(DataError, match="damaged or of another version"):
            Fleet(tmp_path).runs()
