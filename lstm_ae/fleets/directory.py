"""The directory of a fleet: a common model, one run for each series, and a table of them; and rows by series.

The directory contains

- `fleet.json`: the settings that determine the fleet, and the directory of the run of each series,
- `common/`: a run that was trained on all series,
- `runs/`: one run for each series, which appears whole or not at all,
- `fleet.csv`: a table of the series, written last.
"""

import dataclasses
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from lstm_ae.data.panel import Panel
from lstm_ae.errors import Code, DataError
from lstm_ae.formatting import quote
from lstm_ae.json_types import JsonObject
from lstm_ae.run import Run
from lstm_ae.workdir import Workdir

FORMAT = 1

# Longest encoded name of a series.
MAX_NAME = 200

# Columns of the table of a fleet.
COLUMNS = (
    "series",
    "run",
    "rows",
    "verdict",
    "validation_error",
    "test_error",
    "common_validation_error",
    "common_test_error",
    "threshold",
    "epochs",
    "seconds",
    "failure",
)


def directory_names(series: Sequence[str]) -> dict[str, str]:
    """Return a name for the directory of each series that every file system accepts.

    Raises:
        DataError: a name is too long, or two differ in case only, which some file systems ignore.

    >>> list(directory_names(["pump-1", "site A/pump 1", ".."]).values())
    ['pump-1', 'site%20A%2Fpump%201', '%2E%2E']
    """
    # A hidden name and "." are reserved, and Windows drops a dot at the end.
    names = {each: urllib.parse.quote(each, safe="", errors="surrogatepass").replace(".", "%2E") for each in series}
    counts = Counter(name.casefold() for name in names.values())
    for each, name in names.items():
        if counts[name.casefold()] > 1 or not 0 < len(name) <= MAX_NAME:
            raise DataError(
                f"The series {quote(each)} of a fleet needs a name of 1 to {MAX_NAME} characters that differs from all "
                "others in more than case. Rename it",
                code=Code.SERIES_NAME,
            )
    return names


@dataclasses.dataclass(frozen=True)
class Fleet(Workdir):
    """Directory of a fleet."""

    ABOUT: ClassVar[str] = "fleet.json"

    @property
    def common(self) -> Run:
        """The run that was trained on all series."""
        return Run(self.directory / "common")

    @property
    def table(self) -> Path:
        """The table of the series."""
        return self.directory / "fleet.csv"

    @property
    def finished(self) -> bool:
        """Whether all series were trained or have failed."""
        return self.table.is_file()

    def require_finished(self) -> None:
        """Raise `DataError` if the fleet is not finished."""
        if not self.finished:
            raise DataError(
                f"The fleet {str(self.directory)!r} is unfinished. Resume with the command that began it",
                code=Code.RUN_UNFINISHED,
            )

    def about(self) -> JsonObject:
        """Read `fleet.json`.

        Raises:
            DataError: the file is missing or damaged.
        """
        about = super().about()
        series = about.get("series")
        if about.get("format") != FORMAT or not isinstance(series, dict) or series != directory_names(list(series)):
            raise DataError(
                f"{str(self.about_file)!r} is damaged or of another version. Train the fleet again",
                code=Code.RUN_DAMAGED,
            )
        return about

    def runs(self) -> dict[str, Run]:
        """Return the run of each series, which may not exist."""
        return {series: self.run(name) for series, name in self.about()["series"].items()}

    def run(self, name: str) -> Run:
        """Return the run in a directory of `runs`."""
        return Run(self.directory / "runs" / name)

    def write_series(self, rows: Sequence[Mapping[str, object]]) -> Path:
        """Write the table of the series and return its path; cells are empty where a row has no value."""
        return self.write_table("fleet", {name: [row.get(name) for row in rows] for name in COLUMNS})


def take_series(table: Panel) -> Iterator[tuple[str, Panel]]:
    """Yield the name and the rows of each series."""
    borders = np.searchsorted(table.series, np.arange(len(table.ids) + 1))
    for number, name in enumerate(table.ids):
        own = table.take(np.arange(borders[number], borders[number + 1]))
        zeros = np.zeros(len(own.lines), np.int32)
        yield name, own._replace(ids=(name,), series=zeros, segment=zeros, unsorted=0, bad=())
