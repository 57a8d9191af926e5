"""A trained fleet for several test files."""

import json
from pathlib import Path

import pytest
from fleet_makers import OPTIONS, SERIES, TOO_SHORT, write_series
from searches import done


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table and a fleet that one process trained, which no test changes."""
    folder = tmp_path_factory.mktemp("fleet")
    write_series(folder / "table.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = done(f"series train table.csv --fleet {OPTIONS} --out fleet --jobs 1 --json")
    assert [row["series"] for row in json.loads(said.out)["series"]] == [*SERIES, TOO_SHORT]
    return folder
