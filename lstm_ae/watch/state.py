"""Store the state of a monitor in an SQLite file.

A transaction stores the position in the source together with everything that follows from the records before it: the
rows that later scores need, the open events, and the waiting messages. A process that is killed at any moment therefore
continues at the same record.
"""

import contextlib
import json
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.watch.acceptor import AcceptedRows
from lstm_ae.watch.sinks import Message

# Number of the format; states of other builds are refused.
FORMAT = 3

TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, series TEXT NOT NULL, time INTEGER NOT NULL,
    empty INTEGER NOT NULL, value BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS rows_by_time ON rows (series, time);
CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, sink TEXT NOT NULL, key TEXT NOT NULL,
    body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS messages_by_sink ON messages (sink, number);
COMMIT;
"""


class State:
    """The stored state of a monitor, which only one process can use at a time.

    Args:
        path: the file; created if it does not exist. None for a state in memory.

    Raises:
        ConfigError: another process uses the file, or it cannot be created or written.
        DataError: the file is damaged or of another version.
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self.lock = path, threading.RLock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(
                path or ":memory:", timeout=0, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.OperationalError) as error:
            raise self._unusable(error) from None
        # Close the file even if `close` is not called.
        weakref.finalize(self, self.connection.close)
        try:
            # The lock of the first transaction lasts until the connection is closed or the process ends.
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
                self.connection.execute(f"PRAGMA {pragma}")
            self.connection.executescript(TABLES)
            if self.fact("format", FORMAT) != FORMAT:
                raise self._damage(f"its format is {self.fact('format')}, not {FORMAT}")
            self.set_fact("format", FORMAT)
        except BaseException as error:
            self.connection.close()
            # An error of the disk or the machine does not mean that the file is damaged.
            if isinstance(error, sqlite3.OperationalError):
                raise self._unusable(error) from None
            if isinstance(error, sqlite3.Error):
                raise self._damage(str(error)) from None
            raise

    def _unusable(self, error: Exception) -> ConfigError:
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return ConfigError(
                f"Another process uses the state {str(self.path)!r}. Stop it, or change state", code=Code.IN_USE
            )
        return ConfigError(
            f"The state {str(self.path)!r} cannot be used now ({error}); nothing in it is lost. Check the free space "
            "and the permissions, or change state",
            code=Code.OUTPUT_EXISTS,
        )

    def _damage(self, reason: str) -> DataError:
        return DataError(
            f"The state {str(self.path)!r} cannot be read ({reason}). Move it away to start from the beginning of the "
            "source",
            code=Code.FILE_UNREADABLE,
        )

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Store all changes of the block at its end, or none if it raises an error. Other threads wait until then."""
        with self.lock:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def fact(self, name: str, default: Any = None) -> Any:
        """Return a value that `set_fact` stored, or the default."""
        with self.lock:
            row = self.connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return default if row is None else json.loads(row[0])

    def set_fact(self, name: str, value: Any) -> None:
        """Store a value in JSON types."""
        self.connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def series(self) -> dict[str, JsonObject]:
        """Return the facts of all series that `set_series` stored, by series."""
        return {name: json.loads(value) for name, value in self.connection.execute("SELECT * FROM series")}

    def set_series(self, facts: Iterable[tuple[str, JsonMapping]]) -> None:
        """Store the facts of series, in JSON types."""
        rows = ((name, json.dumps(value)) for name, value in facts)
        self.connection.executemany("INSERT OR REPLACE INTO series VALUES (?, ?)", rows)

    def add_rows(self, rows: AcceptedRows) -> None:
        """Store accepted rows."""
        series, times, values = rows
        empty = np.asarray(np.isnan(values).all(axis=1)).tolist()
        cells = (row.tobytes() for row in np.ascontiguousarray(values, np.float32))
        self.connection.executemany(
            "INSERT INTO rows (series, time, empty, value) VALUES (?, ?, ?, ?)",
            zip(series, times.tolist(), empty, cells, strict=True),
        )

    def rows(self, series: str) -> AcceptedRows:
        """Return the stored rows of a series in the order of their arrival."""
        rows = self.connection.execute(
            "SELECT time, value FROM rows WHERE series = ? ORDER BY number", (series,)
        ).fetchall()
        times = np.array([time for time, _ in rows], np.int64)
        values = np.frombuffer(b"".join(value for _, value in rows), np.float32)
        return AcceptedRows([series] * len(times), times, values.reshape(len(times), -1 if len(times) else 0))

    def remove_rows(self, series: str, time: int, earliest: int) -> None:
        """Remove rows of a series, but keep its last row with a value up to a time, and all later rows.

        Args:
            series: the series.
            time: the time.
            earliest: time before which all rows are removed, so that rows without values do not accumulate.
        """
        self.connection.execute(
            "DELETE FROM rows WHERE series = :series AND time < max(:earliest, coalesce((SELECT max(time) FROM rows "
            "WHERE series = :series AND time <= :time AND NOT empty), :earliest))",
            {"series": series, "time": time, "earliest": earliest},
        )

    def add_messages(self, sink: str, messages: Iterable[Message]) -> None:
        """Store waiting messages of a sink."""
        self.connection.executemany(
            "INSERT INTO messages (sink, key, body) VALUES (?, ?, ?)",
            ((sink, key, json.dumps(body, allow_nan=False)) for key, body in messages),
        )

    def remove_other_sinks(self, sinks: Sequence[str]) -> int:
        """Remove the messages for other sinks; return their number."""
        marks = ",".join("?" * len(sinks))
        return self.connection.execute(f"DELETE FROM messages WHERE sink NOT IN ({marks})", tuple(sinks)).rowcount

    def waiting(self, sink: str) -> int:
        """Return the number of waiting messages of a sink."""
        with self.lock:
            row = self.connection.execute("SELECT COUNT(*) FROM messages WHERE sink = ?", (sink,)).fetchone()
        return int(row[0])

    def messages(self, sink: str, limit: int) -> dict[int, Message]:
        """Return the oldest waiting messages of a sink by number."""
        with self.lock:
            rows = self.connection.execute(
                "SELECT number, key, body FROM messages WHERE sink = ? ORDER BY number LIMIT ?", (sink, limit)
            ).fetchall()
        return {number: Message(key, json.loads(body)) for number, key, body in rows}

    def remove_messages(self, numbers: Sequence[int]) -> None:
        """Remove messages."""
        self.connection.executemany("DELETE FROM messages WHERE number = ?", ((number,) for number in numbers))
