"""A source of `lstmae watch` that evaluates a query of Prometheus for each column, at a constant step."""

import dataclasses
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from lstm_ae.config import Reading
from lstm_ae.config.options import option, redefault
from lstm_ae.config.reading import parse_duration, parse_step
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count
from lstm_ae.json_types import JsonMapping
from lstm_ae.watch.servers import AddressOptions, HttpClient, HttpOptions, RemoteError, report_as_source
from lstm_ae.watch.sources import Batch, Record, RowSource, SourceOptions, time_cells

LOG = logging.getLogger(__name__)

# The labels of a result, and its times in milliseconds and values as text.
_Series = tuple[dict[str, str], list[tuple[int, str]]]

# Largest number of steps of a request, which limits the size of the answers for many series.
STEPS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prometheus(HttpOptions, SourceOptions):
    """Range queries of Prometheus, or of a server with the same HTTP API."""

    url: str | None = redefault(AddressOptions, "url", None, help="Address of Prometheus, http or https.")
    queries: tuple[str, ...] = option((), "COLUMN=EXPRESSION for each column of the run.")
    delay: str = option("15s", "Age from which values are complete.")
    history: str = option("1h", "How far the first start looks back.")

    def __post_init__(self) -> None:
        super().__post_init__()
        columns = [query.partition("=")[0].strip() for query in self.queries]
        if duplicate := next((column for column in columns if columns.count(column) > 1), None):
            raise ConfigError(f"queries has two expressions for the column {duplicate!r}. Remove one")
        for name in ("delay", "history"):
            parse_duration(name, getattr(self, name))

    def open(self, reading: Reading) -> RowSource:
        """Return the queries."""
        expressions = [tuple(map(str.strip, query.partition("="))) for query in self.queries]
        if sorted(column for column, _, text in expressions if text) != sorted(reading.value_cols):
            raise ConfigError(
                "queries must have the form COLUMN=EXPRESSION, and one expression for each column of the run: "
                f"{', '.join(reading.value_cols)}. Received: {', '.join(self.queries)[:200]}",
                code=Code.UNKNOWN_NAME,
            )
        queries = {column: text for column, _, text in expressions}
        step = parse_step(reading.freq or "rows")
        if step is None or not step.nanoseconds:
            raise ConfigError(
                "The run has no sampling interval, which is the step of the queries. Train it on rows with times",
                code=Code.RUN_MISMATCH,
            )
        client = self.client("/api/v1/query_range")
        return PrometheusSource(client, queries, step.nanoseconds // 10**6, self, reading)


class PrometheusSource(RowSource):
    """A source of rows whose values are results of queries at a constant step.

    Args:
        client: client of the path of range queries.
        queries: expressions by column.
        step: milliseconds between two rows; their times are multiples of the step.
        options: the options of the source.
        reading: the settings with which the run reads tables.
    """

    plain = True

    def __init__(
        self, client: HttpClient, queries: Mapping[str, str], step: int, options: Prometheus, reading: Reading
    ) -> None:
        self.client, self.queries, self.step, self.reading = client, queries, step, reading
        # Seconds since 1970, which tests set.
        self.now = time.time
        self.name = "Prometheus"
        self.delay = parse_duration("delay", options.delay)
        self.history = parse_duration("history", options.history)
        self.warned = set[str]()

    def read(self, cursor: JsonMapping | None) -> Batch:
        """Return the rows of the next complete steps."""
        last = self._floor(self.now() - self.delay)
        # The position is the last step that was read. The first position is fixed at the first read.
        if cursor is None:
            cursor = {"time": self._floor(self.now() - max(self.history, self.delay)) - self.step, "count": 0}
        before, count = int(cursor["time"]), int(cursor["count"])
        first, end = before + self.step, min(last, before + STEPS * self.step)
        if end < first:
            return Batch(cursor=cursor)
        rows, refused = self._join({column: self._query(column, first, end) for column in self.queries})
        records = [self._record(moment, key, rows[moment, key]) for moment, key in sorted(rows)]
        after = {"time": end, "count": count + len(records)}
        numbers = range(count + 1, count + len(records) + 1)
        return Batch(records, numbers, refused, after, more=end < last)

    def check(self) -> Batch:
        """Return the first rows; raise `DataError` for a query without a result at the last step."""
        last = self._floor(self.now() - self.delay)
        for column in self.queries:
            if not self._query(column, last, last):
                raise DataError(
                    f"{self.name}: the query of {column!r} has no result now. Correct it, or start its target",
                    code=Code.SERVER_UNAVAILABLE,
                )
        return self.read(None)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _floor(self, seconds: float) -> int:
        return int(seconds * 1e3) // self.step * self.step

    def _query(self, column: str, first: int, last: int) -> list[_Series]:
        """Return the results of a query by series, between two times in milliseconds."""
        fields = {
            "query": self.queries[column],
            "start": f"{first / 1e3:.3f}",
            "end": f"{last / 1e3:.3f}",
            "step": f"{self.step / 1e3:.3f}",
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with report_as_source(f"{self.name}, query of {column!r}"):
            try:
                body = self.client.post(urlencode(fields).encode(), headers)
            except RemoteError as error:
                raise RemoteError(_reason(error.content) or str(error)) from None
        try:
            document = json.loads(body)
            for warning in document.get("warnings") or ():
                if warning not in self.warned and len(self.warned) < 100:
                    self.warned.add(warning)
                    LOG.warning("%s, query of %r: %s", self.name, column, str(warning)[:300])
            if document["data"]["resultType"] != "matrix":
                raise ValueError
            return [self._parse(each) for each in document["data"]["result"]]
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise DataError(
                f"{self.name}, query of {column!r}: the answer is not that of a range query. Check url",
                code=Code.SERVER_UNAVAILABLE,
            ) from None

    def _parse(self, result: Any) -> _Series:
        labels = {str(name): str(value) for name, value in result["metric"].items()}
        # A result with native histograms has no values.
        values = [(round(float(moment) * 1e3), str(value)) for moment, value in result.get("values", ())]
        return labels, values

    def _join(
        self, results_by_column: Mapping[str, Sequence[_Series]]
    ) -> tuple[dict[tuple[int, tuple[str, ...]], dict[str, str]], list[DataError]]:
        """Return the values by time and series and by column, and the errors of other values."""
        rows: dict[tuple[int, tuple[str, ...]], dict[str, str]] = {}
        refused, duplicates = list[DataError](), set[tuple[int, tuple[str, ...]]]()
        for column, results in results_by_column.items():
            for labels, values in results:
                if missing := next((label for label in self.reading.id_col if not labels.get(label)), None):
                    text = f"{self.name}, query of {column!r}: {format_count(len(values), 'value')} without the label"
                    error = DataError(f"{text} {missing!r}. Group by it", code=Code.SERIES_NAME)
                    refused += [error] * len(values)
                    continue
                key = tuple(labels[label] for label in self.reading.id_col)
                for moment, value in values:
                    row = rows.setdefault((moment, key), {})
                    if column in row and (moment, key) not in duplicates:
                        duplicates.add((moment, key))
                        series_text = f"of {', '.join(key)!r}" if key else "for a run without id_col"
                        refused.append(
                            DataError(
                                f"{self.name}, query of {column!r}: several values {series_text} at one time. "
                                "Aggregate them",
                                code=Code.SERIES_NAME,
                            )
                        )
                    row[column] = "" if value == "NaN" else value
        # A row that has only NaN is omitted.
        return {place: row for place, row in rows.items() if place not in duplicates and any(row.values())}, refused

    def _record(self, moment: int, key: Sequence[str], values: Mapping[str, str]) -> Record:
        names = dict(zip(self.reading.id_col, key, strict=True))
        return {**dict.fromkeys(self.queries, ""), **time_cells(moment * 10**6, self.reading), **names, **values}


def _reason(content: bytes) -> str:
    """Return the error in the body of an answer; "" if there is none."""
    try:
        return str(json.loads(content)["error"])[:300]
    except (ValueError, TypeError, KeyError):
        return ""
