"""Range queries of Prometheus: steps, gaps, NaN, several columns and series, and answers that are wrong."""

import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from watching import NOW

from lstm_ae.config import Reading
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.watch.prometheus import Prometheus, PrometheusSource
from lstm_ae.watch.servers import RemoteError

READING = Reading(time_col="time", value_cols=("x", "y"), freq="1min")
QUERIES = ("x=avg(x{a=~'b'})", "y = y")


class FakeClient:
    """Client of a Prometheus whose series have labels and a function of the minute, by the first letter of a query."""

    def __init__(self, **series: Any) -> None:
        self.series, self.asked, self.error = series, list[tuple[str, float, float, float]](), Exception()

    def post(self, content: bytes, headers: dict[str, str]) -> bytes:
        assert headers == {"Content-Type": "application/x-www-form-urlencoded"}
        fields = {name: value for name, (value,) in parse_qs(content.decode()).items()}
        start, end, step = (float(fields[name]) for name in ("start", "end", "step"))
        self.asked.append((fields["query"], start, end, step))
        if isinstance(self.error, RemoteError):
            raise self.error
        found, moments = [], [start + number * step for number in range(round((end - start) / step) + 1)]
        for labels, value in self.series.get(fields["query"][0], []):
            values = [[moment, value(round(moment - NOW) // 60)] for moment in moments]
            found.append({"metric": labels, "values": [each for each in values if each[1] is not None]})
        return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": found}}).encode()


def source_of(client: Any, reading: Reading = READING, now: Any = lambda: NOW + 20, **options: Any) -> PrometheusSource:
    queries = {query.partition("=")[0].strip(): query.partition("=")[2].strip() for query in QUERIES}
    chosen = Prometheus(url="http://host", queries=QUERIES, **{"history": "3min"} | options)
    source = PrometheusSource(client, queries, 60_000, chosen, reading)
    source.now = now
    return source


def read_all(source: PrometheusSource, cursor: Any = None) -> tuple[list[Any], list[str], Any]:
    records, refused, more = [], [], True
    while more:
        batch = source.read(cursor)
        cursor, more = json.loads(json.dumps(batch.cursor)), batch.more
        records += batch.records
        refused += [str(error) for error in batch.refused]
    return records, refused, cursor


def test_series_are_joined_as_columns_with_gaps_and_missing_values() -> None:
    """Minute -2 has no value of x, -1 none at all, and 0 a NaN."""
    client = FakeClient(
        a=[({}, lambda minute: {-3: "1.5", 0: "NaN", 1: "+Inf"}.get(minute))],
        y=[({"__name__": "y"}, lambda minute: None if minute == -1 else str(minute))],
    )
    source = source_of(client)
    records, refused, cursor = read_all(source)
    assert records == [
        {"time": "2024-01-01T23:57:00+00:00", "x": "1.5", "y": "-3"},
        {"time": "2024-01-01T23:58:00+00:00", "x": "", "y": "-2"},
        {"time": "2024-01-02T00:00:00+00:00", "x": "", "y": "0"},
    ]
    assert refused == []
    assert client.asked[0] == ("avg(x{a=~'b'})", NOW - 180, NOW, 60)
    assert read_all(source, cursor)[0] == []
    source.now = lambda: NOW + 74.9  # the values of the next minute are 14.9 s old
    assert read_all(source, cursor)[0] == []
    source.now = lambda: NOW + 75
    assert read_all(source, cursor)[0] == [{"time": "2024-01-02T00:01:00+00:00", "x": "+Inf", "y": "1"}]


def test_step_with_nan_alone_is_not_a_row() -> None:
    client = FakeClient(a=[({}, lambda minute: "NaN")], y=[({}, lambda minute: "NaN" if minute == -1 else None)])
    assert read_all(source_of(client))[:2] == ([], [])


def test_delay_longer_than_the_history_reads_from_the_first_complete_step() -> None:
    client, now = FakeClient(a=[({}, str)], y=[({}, str)]), NOW
    source = source_of(client, now=lambda: now, delay="10min")
    records, _, cursor = read_all(source)
    now += 60
    records += read_all(source, cursor)[0]
    assert [record["x"] for record in records] == ["-10", "-9"]


def test_backlog_is_read_in_batches() -> None:
    client = FakeClient(a=[({}, str)], y=[({}, str)])
    records, _, cursor = read_all(source_of(client, history="50min"))
    assert [int(record["x"]) for record in records] == list(range(-50, 1))
    assert cursor == {"time": NOW * 1000, "count": 51}
    sizes = [round((end - start) / 60) + 1 for query, start, end, _ in client.asked if query == "y"]
    assert sizes == [20, 20, 11]


def test_labels_name_the_series_and_unclear_values_are_refused() -> None:
    reading = Reading(time_col="time", value_cols=("x", "y"), id_col=("host", "disk"), freq="1min")
    one, two = {"host": "a", "disk": "0", "job": "n"}, {"host": "b", "disk": "0"}
    client = FakeClient(
        a=[(one, str), (two, str), ({"host": "b"}, str)],
        y=[(one, str), (two, str), (two | {"job": "again"}, lambda minute: "7" if minute == -2 else None)],
    )
    records, refused, _ = read_all(source_of(client, reading))
    assert [(record["host"], record["disk"], record["x"]) for record in records] == [
        *(("a", "0", "-3"), ("b", "0", "-3"), ("a", "0", "-2"), ("a", "0", "-1"), ("b", "0", "-1")),
        *(("a", "0", "0"), ("b", "0", "0")),
    ]
    assert refused == [
        *["Prometheus, query of 'x': 4 values without the label 'disk'. Group by it"] * 4,
        "Prometheus, query of 'y': several values of 'b, 0' at one time. Aggregate them",
    ]


def test_failures_are_errors_and_lose_no_step() -> None:
    client = FakeClient(a=[({}, str)], y=[({}, str)])
    source = source_of(client)
    body = json.dumps({"status": "error", "errorType": "bad_data", "error": "invalid parameter"}).encode()
    for error, problem in (
        (RemoteError("The server answers 400 Bad Request", content=body), "query of 'x': invalid parameter"),
        (RemoteError("The server answers 502", content=b"<html>"), "query of 'x': The server answers 502"),
    ):
        client.error = error
        with pytest.raises(DataError, match=problem):
            source.read(None)
    client.error = Exception()
    assert len(read_all(source)[0]) == 4


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b'"a"', b"{}", b"\xff", b'{"data": {"resultType": "vector", "result": []}}'),
        b'{"data": {"resultType": "matrix", "result": [1]}}',
        b'{"data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1]]}]}}',
        b'{"data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1e999, "1"]]}]}}',
        b"[" * 100_000,
    ],
)
def test_answer_of_another_form_is_an_error(body: bytes) -> None:
    client = FakeClient()
    client.post = lambda *_: body  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"the answer is not that of a range query\. Check url"):
        source_of(client).read(None)


def test_check_reports_a_query_without_a_result() -> None:
    source = source_of(FakeClient(a=[({}, str)]))
    with pytest.raises(DataError, match="the query of 'y' has no result now"):
        source.check()
    assert len(source_of(FakeClient(a=[({}, str)], y=[({}, str)])).check().records) == 4


def test_warnings_are_logged_once(caplog: Any) -> None:
    body = b'{"data": {"resultType": "matrix", "result": []}, "warnings": ["partial response"]}'
    client = FakeClient()
    client.post = lambda *_: body  # type: ignore[method-assign]
    source = source_of(client)
    read_all(source)
    read_all(source)
    assert caplog.text.count("partial response") == 1


@pytest.mark.parametrize(
    ("options", "reading", "problem"),
    [
        ({"queries": ("x",)}, READING, "queries must have the form COLUMN=EXPRESSION.*: x"),
        ({"queries": ("=x",)}, READING, "queries must have the form"),
        ({"queries": QUERIES, "delay": "soon"}, READING, "delay must be a whole number with s, min, h, d, or w"),
        *(({"queries": each}, READING, "one expression for each column") for each in ((), (*QUERIES, "z=z"))),
        ({"queries": QUERIES}, Reading(time_col="time", value_cols=("x", "y"), freq="rows"), "no sampling interval"),
    ],
)
def test_invalid_options_are_refused(options: Any, reading: Reading, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        Prometheus(**{"url": "http://host"} | options).open(reading)
    assert "hidden" not in str(error.value)


def test_options_and_secrets_reach_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROM", "https://us%65r:hid%3Aden@host/prefix/")
    source = Prometheus(url_env="PROM", queries=QUERIES).open(READING)
    assert isinstance(source, PrometheusSource)
    assert source.client.url == "https://us%65r:hid%3Aden@host/prefix/api/v1/query_range"
    assert (source.step, source.queries) == (60_000, {"x": "avg(x{a=~'b'})", "y": "y"})
    source.close()
