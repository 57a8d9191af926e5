"""Convert records to rows of numbers, with the settings by which the run reads tables."""

import collections
import dataclasses
import datetime
from collections.abc import Sequence

from lstm_ae.arrays import Int64Array
from lstm_ae.config import Series
from lstm_ae.data.csv_reader import Row, TextRows
from lstm_ae.data.panel import Panel
from lstm_ae.data.panel_reader import PanelReader
from lstm_ae.data.stream import Refuse, apply_in_parts
from lstm_ae.data.time_zones import format_each_time
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.json_types import JsonObject
from lstm_ae.watch.sources import Batch, Record, line_error, run_columns

# Rows from which the formats of times and numbers are inferred.
SAMPLE_ROWS = 20

# Reasons for which rows are refused, by the code of the error.
REASONS = {
    Code.CELL_VALUE: "value",
    Code.TIME_VALUE: "time",
    Code.TIME_ORDER: "interval",
    Code.TABLE_HEADER: "columns",
    Code.SERIES_NAME: "series",
    Code.FILE_FORMAT: "text",
}


def reason_of(error: DataError) -> str:
    """Return the reason for which a record was refused, which is a label of a metric."""
    return REASONS.get(error.code, "other")


def format_utc(times: Int64Array) -> list[str]:
    """Return times in nanoseconds as text in UTC by RFC 3339.

    >>> import numpy as np
    >>> format_utc(np.array([1_704_067_200_500_000_000]))
    ['2024-01-01T00:00:00.5+00:00']
    """
    return [str(text) for text in format_each_time(times, datetime.UTC)]


class RowParser:
    """A parser of records. Formats that are no settings of the run are inferred from the first records.

    Args:
        config: the run's settings, with the reading options of the source.
        name: the source in errors.
    """

    def __init__(self, config: Series, name: str) -> None:
        self.columns = run_columns(config)
        # Records name their columns, and the source has skipped the lines above them.
        settings: JsonObject = {"columns": self.columns, "label_col": None, "skip_rows": 0}
        # The name of the source, and the name in errors, which is the file of the present rows if there is one.
        self.config, self.source, self.name = dataclasses.replace(config, **settings), name, name
        self._reader: PanelReader | None = None

    def parse(self, batch: Batch, refuse: Refuse) -> list[Panel]:
        """Return the rows of the records with times in UTC, in the order of the records.

        Args:
            batch: records of the source.
            refuse: function that receives the error of each record that cannot be read.
        """
        self.name = batch.name or self.source
        if self._reader:
            self._reader.cells.name = self.name
        rows: collections.deque[Row] = collections.deque()
        for record, line in zip(batch.records, batch.lines, strict=True):
            if problem := self._find_problem(record, line):
                refuse(problem)
            else:
                rows.append((line, [record[column] for column in self.columns]))
        while rows and self._reader is None:
            self._infer(rows, refuse)
        return list(apply_in_parts(list(rows), self._read, refuse)) if self._reader and rows else []

    def _find_problem(self, record: Record, line: int) -> DataError | None:
        """Return the error of a record without a column, without the name of a series, or with invalid text."""
        try:
            "".join([*record, *record.values()]).encode()
        except UnicodeEncodeError:
            problem = "contains half of a surrogate pair, which is not valid text. Send UTF-8"
            return line_error(self.name, line, problem)
        if column := next((column for column in self.columns if column not in record), None):
            columns = ", ".join(list(record)[:6])[:200]
            problem = f"no column {column[:60]!r}. Add it, empty where a value is missing. Columns: {columns}"
            return line_error(self.name, line, problem, Code.TABLE_HEADER)
        if column := next((column for column in self.config.id_col if not record[column].strip()), None):
            problem = f"the column {column[:60]!r} is empty. Write the name of the series"
            return line_error(self.name, line, problem, Code.SERIES_NAME)
        return None

    def _infer(self, rows: collections.deque[Row], refuse: Refuse) -> None:
        """Infer the formats from the first rows or from one of them; otherwise refuse and remove these rows."""
        sample = [rows[place] for place in range(min(SAMPLE_ROWS, len(rows)))]
        problems: list[DataError] = []
        for candidates in [sample, *([row] for row in sample)]:
            try:
                self._use_format(candidates)
                return
            except (ConfigError, DataError) as error:
                problems.append(DataError(str(error), code=error.code))
        for problem in problems[1:]:
            refuse(problem)
            rows.popleft()

    def _use_format(self, sample: list[Row]) -> None:
        """Use the formats of a sample for all rows, or raise its error."""
        self._rows = TextRows(sample, ",", self.name, self.config, use="run")
        reader = PanelReader(self._rows.sample, self.config, use="run")
        if reader.layout.form is not None and reader.layout.form.elapsed:
            problem = "the time is a number without a date. Send dates"
            raise line_error(self.name, sample[0][0], problem, Code.TIME_VALUE)
        self._reader = reader

    def _read(self, rows: Sequence[Row]) -> Panel:
        assert self._reader is not None
        return self._reader.read(*self._rows.transpose(rows, self._reader.columns))
