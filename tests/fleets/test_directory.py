"""Directories of fleets: names of series, and damaged files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ae.errors import DataError
from lstm_ae.fleets.directory import Fleet, directory_name, directory_names
from lstm_ae.run import open_run


@pytest.mark.parametrize(
    ("series", "name"),
    [
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        (".git", "%2Egit"),
        ("v1.", "v1%2E"),
        ("Pumpe ä", "Pumpe%20%C3%A4"),
        ("a:b\\c*?", "a%3Ab%5Cc%2A%3F"),
    ],
)
def test_names_are_encoded(series: str, name: str) -> None:
    assert directory_name(series) == name


@given(st.lists(st.text(max_size=60) | st.text(".%/aA", max_size=300), unique=True, max_size=8))
def test_names_are_different_and_short(series: list[str]) -> None:
    names = directory_names(series)
    assert list(names) == series
    assert len({name.casefold() for name in names.values()}) == len(series)
    for name in names.values():
        assert 0 < len(name) < 200
        assert not name.startswith(".")
        assert Path(name).name == name


def test_name_does_not_depend_on_other_series() -> None:
    assert directory_names(["x", "y"])["x"] == directory_names(["x"])["x"]
    # Only names that differ in case only are changed.
    assert directory_names(["x", "X", "y"])["y"] == "y"
    assert directory_names(["x", "X", "y"])["x"].startswith("x%x")


def test_damaged_record_is_refused(tmp_path: Path) -> None:
    assert not Fleet(tmp_path).begun
    for series in ("", ', "series": {"a": "../.."}', ', "series": {"a": 3}', ', "series": {"a": ""}'):
        (tmp_path / "fleet.json").write_text(f'{{"format": 1{series}}}')
        assert Fleet(tmp_path).begun
        with pytest.raises(DataError, match="damaged or of another version"):
            Fleet(tmp_path).runs()


def test_hidden_folder_of_a_killed_process_is_not_suggested(tmp_path: Path) -> None:
    (tmp_path / "fleet.json").write_text('{"format": 1, "series": {"a": "a"}}')
    for name in (".run-part-1", "a"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    with pytest.raises(DataError, match=r"Pass one of its runs, such as .*runs/a'"):
        open_run(tmp_path)
