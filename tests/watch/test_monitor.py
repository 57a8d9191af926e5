"""Monitors: scores and events equal those of a table, restarts repeat nothing, and nothing that arrives stops them."""

import datetime
import functools
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectors import detector_of
from watching import (
    HEADER,
    NOW,
    START,
    Clock,
    approximate,
    deliver,
    drain,
    feed,
    lines,
    live,
    messages,
    monitor_of,
    opened,
    use_run,
    watched,
    webhook_server,
)

from lstm_ae.detection.events import ScoredRows, find_events
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.watch.sinks import Alertmanager, AlertmanagerSink, JsonLines, Webhook
from lstm_ae.watch.sources import File
from lstm_ae.watch.sql import Sql

RNG = np.random.default_rng(0)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    return use_run(monkeypatch)


def noisy(rows: int, *peaks: int) -> list[float]:
    """Return small values with a large one at each peak."""
    values = np.round(RNG.normal(0, 0.5, rows), 2)
    values[list(peaks)] = 20
    return values.tolist()


def refused(monitor: Any) -> dict[str, int]:
    return dict(monitor.status.refused)


def facts(monitor: Any) -> Any:
    """Return what the next rows depend on, and the messages so far by key."""
    by_key = {each["key"]: each for each in messages()}
    assert len(by_key) == len(messages())
    return [
        monitor.status.counts(),
        monitor.status.accounts,
        dict(monitor.status.scores),
        monitor.state.series(),
        by_key,
    ]


def test_events_and_scores_equal_those_of_a_table(run: Any) -> None:
    values = noisy(60, 20, 40, 41)
    live(HEADER + lines(values))
    monitor, detector, scores = monitor_of(), run.detector, list[float]()
    push = monitor.scorer.stream.push

    def recorded(*arguments: Any) -> Any:
        streamed = push(*arguments)
        scores.extend(streamed.scores)
        return streamed

    monitor.scorer.stream.push = recorded  # type: ignore[method-assign]
    drain(monitor)
    array = np.array(values, np.float32)[:, None]
    scored = detector.scorer().score_rows(array, np.zeros(60, np.int32))
    np.testing.assert_allclose(scores, scored.scores, rtol=1e-6)
    times, zeros = np.arange(60), np.zeros(60)
    rows = ScoredRows(zeros, times, times == 0, scored.scores, zeros, scored.windows, scored.errors)
    expected = find_events(rows, monitor.scorer.rule).events
    events = messages()
    assert len(expected) == 2
    assert [each["status"] for each in events] == ["firing", "resolved"] * 2
    for found, event in zip(events[1::2], expected, strict=True):
        minutes = (event.first, event.last, event.peak, event.alarm)
        shown = [str(START + np.timedelta64(row, "m")) + ":00+00:00" for row in minutes]
        assert [found[name] for name in ("start", "end", "peak", "alarm")] == shown
        assert found["score"] == pytest.approx(event.score)
        assert found["causes"] == pytest.approx({"value 0": 1.0})
    assert [each["event"] for each in events[::2]] == [each["event"] for each in events[1::2]]
    assert (monitor.status.rows, monitor.status.accounts[""].alarms) == (60, 2)


def test_irregular_times_within_the_sampling_interval_do_not_divide_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows less than 1.5 steps apart follow each other on the grid."""
    use_run(monkeypatch, detector_of(max_gap=0, time_col="time"))
    minutes = np.arange(60.0)
    minutes[40:42] += [-0.2, 0.2]
    times = START + (minutes * 60).astype("timedelta64[s]")
    values = noisy(60, 40)
    # The score of the second row is not twice that of the first one, which would be another alarm.
    values[41] = 12
    rows = zip(times, values, strict=True)
    watched(HEADER + "".join(f"{time},{value}\n" for time, value in rows))
    (began, ended) = messages()
    assert (began["status"], ended["status"]) == ("firing", "resolved")
    assert ended["start"] == "2024-01-01T00:39:48+00:00"


@pytest.mark.parametrize(("duplicates", "adapt"), [("error", None), ("mean", None), ("error", 20)])
def test_restarts_change_no_message(monkeypatch: pytest.MonkeyPatch, duplicates: str, adapt: int | None) -> None:
    """Gaps, missing values, two rows of one time, and two series; a restart after any row, and one without a row."""
    use_run(monkeypatch, detector_of(4, time_col="time", id_col=("id",), duplicates=duplicates))
    rows, random = [], np.random.default_rng(1)
    for number, value in enumerate(noisy(120, 30, 60, 61, 90)):
        minute = number + 2 * (number > 25) + 9 * (number > 70)
        shown = "" if number in (50, 51, 52, 53, 54) else value
        rows.append(f"{START + np.timedelta64(minute, 'm')},{shown},{'ab'[number % 7 == 0]}\n")
        if number == 33:
            rows.append(rows[-1])
    header = "time,value 0,id\n"
    whole = watched(header + "".join(rows), threshold="fixed:3", adapt=adapt)
    expected = facts(whole)
    whole.close()
    assert len(expected[-1]) > (1 if adapt else 3)
    for path in ("live.csv", "alarms.jsonl"):
        Path(path).unlink()
    shutil.rmtree("state")
    live(header)
    while rows:
        count = int(random.integers(1, 12))
        monitor = watched("".join(rows[:count]), threshold="fixed:3", adapt=adapt)
        rows = rows[count:]
        monitor.close()
    assert facts(watched("", threshold="fixed:3", adapt=adapt)) == approximate(expected)


def test_series_that_leaves_the_training_range_is_reported_once(run: Any, caplog: Any) -> None:
    """Scores above most normal ones for ten windows, also across a restart."""
    rows = [*noisy(20), *(value * 40 for value in noisy(60))]
    monitor = watched(HEADER + lines(rows[:45]))
    assert monitor.status.shifted == {"": False}
    monitor.close()
    monitor = watched(lines(rows[45:], 45))
    assert monitor.status.shifted == {"": True}
    assert caplog.text.count("Drift over 30 rows or more: most scores exceed 95% of") == 1
    assert "Train again on later rows, as with: lstmae series train" in caplog.text
    monitor.close()
    assert monitor_of().status.shifted == {"": True}


def test_stored_rows_are_bounded(run: Any) -> None:
    live(HEADER)
    monitor = monitor_of()
    for first in range(0, 400, 100):
        feed(monitor, lines(noisy(100), first))
        assert len(monitor.state.rows("").times) <= 3 * run.detector.normal.window + 3


BAD_ROWS = {
    "late": (lines([1], minutes=[5]), "late", "is earlier than the newest row"),
    "duplicate": (lines([1], minutes=[29]), "duplicate", "has the same time as the newest row"),
    "future": (lines([1], minutes=[5000]), "future", "ahead of the clock"),
    "text in a number": (lines(["high"], 30), "value", "high"),
    "beyond float32": (lines(["1e60"], 30), "value", "beyond"),
    "no time": ("yesterday,1\n", "time", "yesterday"),
    "too few cells": ("2024-01-01T00:30\n", "columns", "1 cell where the header has 2"),
    "NUL": ("2024-01-01T00:30,\0\n", "text", "NUL"),
    "open quote": ('"2024-01-01T00:30,1\n', "value", "quote"),
    "other encoding": ("2024-01-01T00:30,\udcff\n", "text", "0xff is not utf-8"),
    "too close": (lines([1], 30) + "2024-01-01T00:30:10,1\n", "interval", "only 10s after"),
    "line too long": ("x" * (2**20 + 1) + "\n", "text", "longer than"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_bad_row_is_refused_counted_and_changes_no_score(run: Any, kind: str, caplog: Any) -> None:
    """The rows after it are scored as if it had not been there."""
    text, reason, problem = BAD_ROWS[kind]
    values = noisy(60, 45)
    monitor = watched(HEADER + lines(values[:30]))
    with Path("live.csv").open("ab") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    drain(monitor)
    first = 31 if kind == "too close" else 30
    feed(monitor, lines(values[first:], first))
    assert refused(monitor) == {reason: 1}
    assert problem in caplog.text
    assert "live.csv, line" in caplog.text or kind == "too close"
    assert monitor.status.rows == 60
    assert [each["status"] for each in messages()] == ["firing", "resolved"]


def test_unknown_columns_are_ignored_and_missing_columns_are_refused(run: Any, caplog: Any) -> None:
    monitor = watched(
        "noise,time,value 0,more\n" + "".join(f"7,{row.strip()},8\n" for row in lines(noisy(9)).splitlines())
    )
    assert (monitor.status.rows, refused(monitor)) == (9, {})
    live("time,other\n" + lines(noisy(5), 9), "w")
    drain(monitor)
    assert refused(monitor) == {"columns": 5}
    assert "no column 'value 0'. Add it" in caplog.text


def test_slower_sampling_leaves_rows_without_scores_and_goes_on(run: Any) -> None:
    monitor = watched(HEADER + lines(noisy(30)))
    assert monitor.status.unscored == monitor.scorer.detector.normal.window - 1
    feed(monitor, lines(noisy(20), minutes=range(40, 240, 10)))
    assert (monitor.status.rows, refused(monitor)) == (50, {})
    assert monitor.status.unscored >= 15
    feed(monitor, lines(noisy(30, 15), 300))
    assert [each["status"] for each in messages()] == ["firing", "resolved"]


def test_rows_in_the_repeated_hour_of_a_time_zone_are_refused(run: Any) -> None:
    """Clocks in Berlin show 02:00 to 02:59 twice on 2024-10-27."""
    clock = Clock(NOW + 400 * 86_400)
    minutes = [*range(120, 180), *range(120, 190)]
    day = np.datetime64("2024-10-27T00:00")
    text = "".join(f"{day + np.timedelta64(minute, 'm')},1\n" for minute in minutes)
    monitor = watched(HEADER + text, reading={"time_zone": "Europe/Berlin"}, clock=clock)
    assert (monitor.status.rows, refused(monitor)) == (10, {"time": 120})


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("value", ["1e30", "3e38"])
def test_gigantic_value_is_an_event_and_does_not_affect_later_scores(run: Any, value: str) -> None:
    monitor = watched(HEADER + lines([*[0.1] * 20, value, *[0.1] * 40]))
    firing, resolved = messages()
    assert resolved["score"] > 1e20
    assert firing["causes"] == {"value 0": 1.0}
    assert monitor.status.scores[""].score < 20


def test_series_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use_run(monkeypatch, detector_of(time_col="time", id_col=("id",)))
    rows = lines(noisy(9)).splitlines()
    monitor = watched(
        "time,value 0,id\n" + "".join(f"{row},{name}\n" for row in rows for name in ("", "a", "b", "c")), max_series=2
    )
    assert refused(monitor) == {"series": 18}
    assert set(monitor.status.scores) == {"a", "b"}


def test_new_version_of_the_run_scores_the_rows_after_a_restart(run: Any) -> None:
    monitor = watched(HEADER + lines(noisy(20, 5)))
    assert monitor.scorer.tracks[""].alarms.maxima
    assert monitor.status.accounts[""].alarms == 1
    monitor.close()
    run.created, run.detector = "second", detector_of(5, time_col="time")
    monitor = watched(lines(20 * [0], 20))
    assert monitor.status.accounts[""].alarms == 0
    assert (monitor.scorer.version[1], monitor.status.rows) == ("second", 40)


def test_messages_for_a_removed_sink_are_removed(run: Any, caplog: Any) -> None:
    live(HEADER + lines(noisy(30, 20)))
    monitor = drain(monitor_of(sinks=opened(old=JsonLines(path="missing/alarms.jsonl"))))
    assert monitor.outboxes["old"].waiting == 2
    monitor.close()
    monitor = monitor_of()
    assert monitor.state.waiting("old") == 0
    assert "2 messages for former sinks removed" in caplog.text


def test_rows_need_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    use_run(monkeypatch, detector_of(freq="rows"))
    live("value 0\n")
    with pytest.raises(ConfigError) as error:
        monitor_of()
    assert error.value.code is Code.RUN_MISMATCH
    use_run(monkeypatch, detector_of(time_col="time"))
    live("time,value 0\n" + "".join(f"{number},1\n" for number in range(30)), "w")
    monitor = drain(monitor_of())
    assert (monitor.status.rows, refused(monitor)) == (0, {"time": 30})


def test_sink_that_fails_is_retried_with_backoff_and_gets_each_message_once(run: Any, caplog: Any) -> None:
    caplog.set_level("INFO")
    clock = Clock()
    live(HEADER + lines(noisy(30, 20)))
    with webhook_server() as hook:
        hook.answers += [500, 503, 301, (429, {"Retry-After": "90"})]
        monitor = monitor_of(sinks=opened(hook=Webhook(url=hook.url)), clock=clock)
        waits = []
        for _ in range(100):
            drain(monitor)
            waits.append(len(hook.received))
            clock.now += 10
        assert "The server answers 500" in caplog.text
        assert "accepts messages again" in caplog.text
        # Attempts after 0, 10, 20, and 30 seconds; then the server asks for 90 seconds.
        assert waits[:13] == [1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 6]
        keys = [headers["Idempotency-Key"] for headers, _ in hook.received]
        assert len(set(keys)) == 2
        assert keys[-2:] == sorted(set(keys))
        assert monitor.outboxes["hook"].waiting == 0


def test_failed_transaction_is_repeated(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream in memory is rebuilt from the state, so that no row is scored twice."""
    from lstm_ae.watch.monitor import Monitor

    live(HEADER + lines(noisy(30, 20)))
    monitor = monitor_of()
    with monkeypatch.context() as full:
        full.setattr(Monitor, "_watch_silence", lambda *_: 1 / 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                monitor.step()
    drain(monitor)
    assert monitor.status.counts() == {"rows": 30, "refused": {}, "unscored": 2}
    assert monitor.status.accounts[""].alarms == 1
    assert [each["status"] for each in messages()] == ["firing", "resolved"]


def test_json_has_decimal_points_and_bad_lines_are_refused(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Whatever marks the table of the run had."""
    use_run(monkeypatch, detector_of(time_col="time", decimal="comma", id_col=("pump",)))
    values = [*[0.25] * 20, 20.5, *[0.25] * 9]
    rows: list[Any] = [
        {"time": str(START + np.timedelta64(k, "m")), "pump": "a", "value 0": value} for k, value in enumerate(values)
    ]
    # Halves of surrogate pairs, and other lines.
    rows += [
        rows[-1] | wrong for wrong in ({"pump": "\ud800"}, {"value 0": "\udfff"}, {"\ud800": 1}, {"time": float("nan")})
    ]
    rows += [rows[len(values) - 1] | {"time": "2024-01-01T01:00", "value 0": True}, [1]]
    Path("live.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    monitor = drain(monitor_of(File(path="live.jsonl", start="beginning")))
    assert (monitor.status.rows, refused(monitor)) == (len(values), {"value": 1, "text": 5})
    assert [each["status"] for each in messages()] == ["firing", "resolved"]
    assert f"live.jsonl, line {len(values) + 1}: contains half of a surrogate pair" in caplog.text
    caplog.text.encode()


def alerting(url: str, clock: Clock) -> dict[str, Any]:
    sink = AlertmanagerSink(Alertmanager(url=url).client())
    sink.now = clock.time
    return {"alerts": sink}


def test_alert_is_refreshed_while_its_event_lasts_and_resolved_once(run: Any) -> None:
    """Alertmanager forgets alerts at its restart, so a watch sends those that last again."""
    clock = Clock()
    live(HEADER + lines([*noisy(20), 20, *noisy(3)]))
    with webhook_server() as hook:
        monitor = monitor_of(sinks=alerting(hook.url, clock), clock=clock)
        for _ in range(13):
            drain(monitor)
            clock.now += 10
        monitor.close()
        monitor = drain(monitor_of(sinks=alerting(hook.url, clock), clock=clock))
        before = len(hook.received)
        live(lines(noisy(10), 24))
        for _ in range(13):
            drain(monitor)
            clock.now += 10
    alerts = [json.loads(body) for _, body in hook.received]
    assert {len(each) for each in alerts} == {1}
    assert len({json.dumps(each["labels"]) for (each,) in alerts}) == 1
    # The message, a copy every 60 seconds, and one after the restart; then the end.
    assert (before, len(alerts)) == (4, 5)
    ends = [datetime.datetime.fromisoformat(each["endsAt"]).timestamp() - NOW for (each,) in alerts]
    assert ends[:4] == [300, 360, 420, 430]
    assert ends[4] < 0
    assert {each["startsAt"] for (each,) in alerts} == {alerts[0][0]["startsAt"]}


# Silence


def test_clock_that_was_put_back_during_a_restart_delays_the_alarm_by_one_silence(run: Any) -> None:
    clock = Clock()
    watched(HEADER + lines(noisy(10)), silence="1h", clock=clock).close()
    clock.back = 86_400
    monitor = drain(monitor_of(silence="1h", clock=clock))
    clock.now += 3600
    drain(monitor)
    assert [each["kind"] for each in messages()] == ["silence"]


def test_silent_source_raises_an_alarm_that_the_next_row_ends(run: Any) -> None:
    """The clock is put back by a day, which moves no alarm; a restart repeats none."""
    clock = Clock()
    monitor = watched(HEADER + lines(noisy(10)), silence="1h", clock=clock)
    clock.back = 86_400
    clock.now += 3599
    drain(monitor)
    assert not messages()
    clock.now += 1
    for _ in range(3):
        drain(monitor)
    monitor.close()
    monitor = drain(monitor_of(silence="1h", clock=clock))
    (firing,) = messages()
    assert (firing["kind"], firing["status"], firing["start"]) == ("silence", "firing", "2024-01-02T00:00:00+00:00")
    clock.now += 60
    clock.back = 0
    feed(monitor, lines(noisy(1), 10))
    resolved = messages()[1]
    assert (resolved["status"], resolved["event"]) == ("resolved", firing["event"])
    assert resolved["end"] == "2024-01-02T01:01:00+00:00"


def test_source_that_cannot_be_read_is_silent(run: Any) -> None:
    """That is how most sources fall silent: a missing file, a database that is down."""
    clock = Clock()
    monitor = watched(HEADER + lines(noisy(10)), silence="1h", clock=clock)
    Path("live.csv").unlink()
    clock.now += 3600
    for _ in range(3):
        with pytest.raises(DataError, match="There is no file"):
            monitor.step()
    # While the next attempt is awaited.
    monitor.check_silence()
    deliver(monitor)
    assert [(each["kind"], each["status"]) for each in messages()] == [("silence", "firing")]
    monitor.close()
    # Rows that arrived while the watch was down may be there in a moment.
    Path("alarms.jsonl").unlink()
    watched(HEADER + lines(noisy(1), 10), silence="1h", clock=clock).close()
    assert [each["status"] for each in messages()] == ["resolved"]


# Sinks


def test_source_waits_while_a_sink_fails_and_catches_up(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_ae.watch.monitor.MAX_WAITING", 2)
    clock = Clock()
    monitor = watched(HEADER + lines(noisy(30, 20)), sinks=opened(file=JsonLines(path="folder/out.jsonl")), clock=clock)
    assert monitor.outboxes["file"].waiting == 2
    live(lines(noisy(60), 30))
    clock.now += 60
    drain(monitor)
    assert monitor.status.rows == 30
    Path("folder").mkdir()
    clock.now += 60
    drain(monitor)
    drain(monitor)
    assert monitor.status.rows == 90
    assert len(messages("folder/out.jsonl")) == 2


def test_message_that_a_sink_refuses_is_dropped_and_counted(run: Any, caplog: Any) -> None:
    live(HEADER + lines(noisy(30, 20)))
    with webhook_server() as hook:
        hook.answers += [400]
        monitor = drain(monitor_of(sinks=opened(hook=Webhook(url=hook.url))))
        monitor.close()
        assert monitor_of(sinks=opened(hook=Webhook(url=hook.url))).outboxes["hook"].dropped == 1
    assert len(hook.received) == 2
    assert "refuses a message" in caplog.text


# The state


def test_state_of_another_source_run_or_build_is_refused(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = watched(HEADER + lines(noisy(20)))
    with pytest.raises(ConfigError) as error:
        monitor_of()
    assert error.value.code is Code.IN_USE
    run.detector, run.created = detector_of(features=2, time_col="time"), "second"
    monitor.close()
    with pytest.raises(ConfigError, match="belongs to another kind of source, or to a run"):
        monitor_of()
    run.detector = detector_of(time_col="time")
    with pytest.raises(ConfigError, match="belongs to another kind of source, or to a run"):
        monitor_of(Sql(url="sqlite:///base.sqlite", table="rows"))
    monkeypatch.setattr("lstm_ae.watch.state.FORMAT", 4)
    with pytest.raises(DataError, match=r"its format is 3, not 4\). Move it away"):
        monitor_of()
    Path("state/pump.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(DataError, match="Move it away") as damage:
        monitor_of()
    assert damage.value.code is Code.FILE_UNREADABLE


def test_full_disk_is_not_called_damage(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever moved the state away would lose the position in the source and the open events."""

    class FullDisk(sqlite3.Connection):
        def executescript(self, script: str) -> sqlite3.Cursor:
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=FullDisk))
    with pytest.raises(ConfigError, match=r"cannot be used now \(database or disk is full\); nothing in it is lost"):
        monitor_of()
