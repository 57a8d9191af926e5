"""Source and sink of `lstmae watch` for databases: SQLite and PostgreSQL, through SQLAlchemy.

A source orders rows by a column of whole numbers or timestamps and remembers the last value of it. Create a view for
another selection or for columns of another type.
"""

import dataclasses
import datetime
import importlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lstm_ae.config import Reading
from lstm_ae.config.options import option, redefault
from lstm_ae.config.reading import parse_duration
from lstm_ae.errors import Code, ConfigError, DataError, require_extra
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.watch.servers import TIMEOUT, AddressOptions, RefusedError, RemoteError, report_as_source
from lstm_ae.watch.sinks import Message, Sink, SinkError, SinkOptions
from lstm_ae.watch.sources import AHEAD, BATCH_RECORDS, Batch, RowSource, SourceOptions, run_columns

if TYPE_CHECKING:
    import sqlalchemy as sa

# Seconds that a query may take.
QUERY_TIMEOUT = 60.0

# Drivers by the kind of a database.
DRIVERS = {"sqlite": "pysqlite", "postgresql": "pg8000"}

# Longest reason of an error in a message.
MAX_REASON = 300

# Greatest whole number of a cursor. SQLite orders text behind all numbers.
MAX_INTEGER = 2**63 - 1

# Rows of one value of the cursor, which are read at once.
MAX_TIES = 200_000

# Columns of the table of a sink, beside the key.
TEXTS = ("monitor", "series", "kind", "status", "causes", "run", "version", "message")
MOMENTS, NUMBERS = ("start_time", "end_time", "peak_time"), ("score", "threshold", "p")

_Row = tuple[Any, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatabaseOptions(AddressOptions):
    """Options of a database."""

    schemes: ClassVar[tuple[str, ...]] = ("postgresql",)
    local_schemes: ClassVar[tuple[str, ...]] = ("sqlite",)

    url: str | None = redefault(
        AddressOptions, "url", None, help="Database: sqlite:///FILE or postgresql://USER@HOST/NAME."
    )

    table: str = option("", "Table or view, or SCHEMA.TABLE.", required=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        split_table(self.table)

    def database(self) -> "Database":
        """Return the database, to which nothing is connected yet.

        Raises:
            ConfigError: a secret or a package is missing.
        """
        return Database(self.address(), secret=self.url is None)


class Database:
    """A database whose errors contain no secret.

    Args:
        url: address by the rules of SQLAlchemy. PostgreSQL is reached with the driver pg8000.
        secret: whether errors contain neither the host nor the user.

    Raises:
        ConfigError: the address is not valid, or a package is missing.
    """

    def __init__(self, url: str, *, secret: bool = False) -> None:
        with require_extra("kind = 'sql'", "sql"):
            import sqlalchemy as sa
        try:
            parsed = sa.engine.make_url(url)
        except (sa.exc.ArgumentError, ValueError):
            raise ConfigError("url is not an address of a database. Correct it") from None
        self.kind, _, driver = parsed.drivername.partition("+")
        if driver not in ("", DRIVERS[self.kind]):
            # Others have no time limits, and return other values for the same column.
            raise ConfigError(f"url names the driver {driver!r}. Write {self.kind}:// for {DRIVERS[self.kind]}")
        parsed = parsed.set(drivername=f"{self.kind}+{DRIVERS[self.kind]}")
        self.path = Path(parsed.database) if self.kind == "sqlite" and parsed.database else None
        if self.kind == "sqlite" and self.path is None:
            raise ConfigError("url names no file of SQLite. Write sqlite:///FILE, with four slashes for /FILE")
        hidden = (parsed.password, *((parsed.host, parsed.username) if secret else ()))
        self.hidden = [str(each) for each in hidden if each]
        timeout = TIMEOUT if self.path else QUERY_TIMEOUT
        try:
            with require_extra("url", "sql"):
                self.engine = sa.create_engine(
                    parsed,
                    hide_parameters=True,
                    pool_pre_ping=True,
                    # A file can be replaced, which a connection that stays open would not see.
                    poolclass=sa.NullPool if self.path else None,
                    connect_args={"timeout": timeout},
                )
            if self.path:
                sa.event.listen(self.engine, "connect", _keep_wrong_text)
        except (sa.exc.ArgumentError, TypeError, ValueError) as error:
            raise ConfigError(f"url cannot be used: {self.describe(error)}") from None
        self._sa = sa

    @contextmanager
    def connect(self) -> Iterator["sa.Connection"]:
        """Return a connection whose transaction is stored at the end of the block.

        Raises:
            RemoteError: the database cannot be reached or refuses a statement.
        """
        exc = self._sa.exc
        try:
            with self.engine.begin() as connection:
                yield connection
        # Drivers raise errors of their own, such as those of sockets, and for settings that they do not know.
        except (exc.SQLAlchemyError, OSError, TypeError, ValueError) as error:
            # SQLite cannot store half of a surrogate pair.
            refused = isinstance(error, (exc.IntegrityError, exc.DataError, UnicodeEncodeError))
            # PostgreSQL reports a value that it cannot store as an error of its driver.
            refused |= str(_fields(error).get("C", "")).startswith(("22", "23"))
            raise (RefusedError if refused else RemoteError)(self.describe(error)) from None

    def describe(self, error: Exception) -> str:
        """Return the reason of an error in one line, without secrets."""
        text = str(_fields(error).get("M") or getattr(error, "orig", None) or error).strip()
        text = (text.splitlines() or [type(error).__name__])[0]
        # The user has not chosen this setting.
        text = re.sub(r" \(timeout is .*\)$", "", text)
        for each in self.hidden:
            text = re.sub(rf"(?<!\w){re.escape(each)}(?!\w)", "***", text)
        return text[:MAX_REASON].rstrip(".")

    def close(self) -> None:
        """Close the connections; others are opened when they are needed."""
        self.engine.dispose()


def _keep_wrong_text(connection: Any, record: object) -> None:
    """Let SQLite return text that is not UTF-8 with halves of surrogate pairs, so that one row of it is refused."""
    connection.text_factory = lambda content: content.decode(errors="surrogateescape")


def _fields(error: Exception) -> JsonMapping:
    """Return the fields of an error of PostgreSQL by their letters, such as M for the message; empty for others."""
    arguments = getattr(getattr(error, "orig", None) or error, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], dict) else {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sql(DatabaseOptions, SourceOptions):
    """A table or a view of a database, in the order of one of its columns."""

    cursor: str | None = option(
        None, "Column of whole numbers or timestamps that ascends with new rows (default: that of the times)."
    )
    delay: str | None = option(None, "Age from which rows are complete, such as 30s (default: none).")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delay is not None:
            parse_duration("delay", self.delay)

    def open(self, reading: Reading) -> RowSource:
        """Return the rows."""
        cursor = self.cursor or reading.time_col or ""
        if cursor == reading.time_col and reading.id_col and self.delay is None:
            raise ConfigError(
                "Rows of several series have the same time, and one that is stored after another would not be read. "
                "Add delay, such as delay = '30s', or a cursor that differs between all rows",
                code=Code.MISSING_OPTION,
            )
        delay = None if self.delay is None else parse_duration("delay", self.delay)
        return SqlSource(self.database(), self.table, cursor, delay, reading)


def split_table(table: str) -> tuple[str | None, str]:
    """Return the schema and the name in TABLE or SCHEMA.TABLE; raise `ConfigError` for another text."""
    if not re.fullmatch(r"[^.]+(\.[^.]+)?", table):
        raise ConfigError(f"table must be TABLE or SCHEMA.TABLE. Received: {table[:60]!r}")
    schema, _, name = table.rpartition(".")
    return schema or None, name


class SqlSource(RowSource):
    """Rows of a database. The position is the last value of a column of whole numbers or timestamps.

    A value that lies in the future does not become the position, since no later row would follow it.

    Args:
        database: the database.
        table: name of the table, or SCHEMA.TABLE.
        cursor: column by which rows are ordered.
        delay: seconds after which rows are complete; None if they are at once.
        reading: the settings with which the run reads tables.
    """

    plain = True

    def __init__(self, database: Database, table: str, cursor: str, delay: float | None, reading: Reading) -> None:
        import sqlalchemy as sa

        self._sa, self.now = sa, time.time
        self.database, self.cursor, self.delay, self.reading = database, cursor, delay, reading
        self.columns = tuple(dict.fromkeys([*run_columns(reading), cursor]))
        self.cursor_index = self.columns.index(cursor)
        self.name = f"{database.kind} table {table}"
        schema, name = split_table(table)
        self.table = sa.table(name, *map(sa.column, self.columns), schema=schema)

    def _select(self, conditions: Mapping[str, Any], limit: int) -> list[_Row]:
        """Return rows that fulfill conditions, which compare the column of the cursor with values, in its order."""
        column = self.table.c[self.cursor]
        statement = self._sa.select(*self.table.c).where(column.is_not(None))
        for comparison, value in conditions.items():
            statement = statement.where(column.op(comparison)(value))
        with self.database.connect() as connection:
            return [tuple(row) for row in connection.execute(statement.order_by(column).limit(limit))]

    def read(self, cursor: JsonMapping | None) -> Batch:
        """Return the next rows, with all rows of the last value of the cursor."""
        if self.database.path is not None and not self.database.path.is_file():
            # SQLite would create the file.
            raise DataError(f"There is no file {str(self.database.path)!r}. Check url", code=Code.FILE_UNREADABLE)
        position = {"after": None, "count": 0} if cursor is None else cursor
        with report_as_source(self.name):
            return self._read(position)

    def _read(self, position: JsonMapping) -> Batch:
        after, count = position["after"], int(position["count"])
        if isinstance(after, str):
            after = datetime.datetime.fromisoformat(after)
        if after is None and not (rows := self._select({}, 1)):
            return Batch(cursor=position)
        value = rows[0][self.cursor_index] if after is None else after
        conditions = {"<=": self._limit(value)} | ({} if after is None else {">": after})
        rows = self._select(conditions, BATCH_RECORDS)
        if more := len(rows) == BATCH_RECORDS:
            last = rows[-1][self.cursor_index]
            ties = self._select({"=": last}, MAX_TIES + 1)
            if len(ties) > MAX_TIES:
                raise self._unusable(f"has one value in more than {MAX_TIES:,} rows", "another one")
            rows = [row for row in rows if row[self.cursor_index] != last] + ties
        last = rows[-1][self.cursor_index] if rows else after
        records = [{name: format_cell(cell) for name, cell in zip(self.columns, row, strict=True)} for row in rows]
        numbers = range(count + 1, count + len(rows) + 1)
        return Batch(
            records,
            numbers,
            [],
            {"after": last.isoformat() if isinstance(last, datetime.datetime) else last, "count": count + len(rows)},
            more,
        )

    def _limit(self, value: object) -> Any:
        """Return the greatest value that is read now.

        Args:
            value: a value of the column, which has the type and the unit of all of them.

        Raises:
            DataError: the column has another type.
        """
        seconds = self.now() + (AHEAD if self.delay is None else -self.delay)
        if isinstance(value, datetime.datetime):
            moment = datetime.datetime.fromtimestamp(seconds, self.reading.zone or datetime.UTC)
            return moment if value.tzinfo is not None else moment.replace(tzinfo=None)
        if type(value) is not int:
            raise self._unusable(
                f"has the type {type(value).__name__}", "whole numbers or timestamps, such as rowid of SQLite"
            )
        if self.cursor == self.reading.time_col or self.delay is not None:
            raise self._unusable(
                "has numbers as times", "timestamps, or a counter such as rowid of SQLite and no delay"
            )
        return MAX_INTEGER

    def _unusable(self, problem: str, remedy: str) -> DataError:
        return DataError(
            f"{self.name}: the column {self.cursor!r} of the cursor {problem}. Use {remedy}", code=Code.TABLE_HEADER
        )

    def close(self) -> None:
        """Close the connections."""
        self.database.close()


def format_cell(value: object) -> str:
    """Return a value of a database as the text of a cell.

    >>> from decimal import Decimal
    >>> [format_cell(value) for value in (None, float("nan"), Decimal("NaN"), Decimal("1.50"), True, 7, b"x")]
    ['', '', '', '1.50', '1', '7', "b'x'"]
    >>> berlin = datetime.timezone(datetime.timedelta(hours=1))
    >>> [format_cell(datetime.datetime(2024, 1, 1, 0, 30, tzinfo=zone)) for zone in (None, berlin)]
    ['2024-01-01T00:30:00', '2023-12-31T23:30:00+00:00']
    >>> format_cell(datetime.date(2024, 1, 1))
    '2024-01-01'
    """
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, datetime.datetime):
        return (value if value.tzinfo is None else value.astimezone(datetime.UTC)).isoformat()
    return str(int(value) if isinstance(value, bool) else value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SqlTable(DatabaseOptions, SinkOptions):
    """A table of a database with a row for each event."""

    table: str = redefault(DatabaseOptions, "table", "lstmae_events", help="Table, created if missing.")

    def open(self) -> Sink:
        """Return the table."""
        return SqlSink(self.database(), self.table)


class SqlSink(Sink):
    """A table with a key, so that a message that arrives again changes nothing.

    Args:
        database: the database.
        table: name of the table, or SCHEMA.TABLE.
    """

    batch = 500

    def __init__(self, database: Database, table: str) -> None:
        import sqlalchemy as sa

        self._sa, self.database = sa, database
        schema, name = split_table(table)
        # Keys have 16 characters.
        columns: list[Any] = [sa.Column("event", sa.String(64), primary_key=True)]
        columns += [sa.Column(each, sa.Text()) for each in TEXTS]
        columns += [sa.Column(each, sa.DateTime(timezone=True)) for each in MOMENTS]
        columns += [sa.Column(each, sa.Double()) for each in NUMBERS]
        self.table = sa.Table(name, sa.MetaData(), *columns, schema=schema)
        self.lock = threading.Lock()
        insert = importlib.import_module(f"sqlalchemy.dialects.{database.kind}").insert(self.table)
        changed = {each.name: insert.excluded[each.name] for each in columns[1:]}
        # A copy of the first message of an event that is over does not open it again.
        self.statement = insert.on_conflict_do_update(
            index_elements=["event"], set_=changed, where=self.table.c.status != "resolved"
        )

    def check(self) -> None:
        """Connect to the database if it exists."""
        path = self.database.path
        if path is not None and not path.exists():
            if not path.parent.is_dir():
                raise SinkError(f"There is no folder {str(path.parent)!r}. Create it")
            return
        with self.database.connect() as connection:
            connection.execute(self._sa.select(1))

    def send(self, messages: Sequence[Message]) -> None:
        """Insert a row for each message, or update that of its event."""
        # Of an event that begins and ends with these messages, only the last state counts.
        rows = {row["event"]: row for row in map(self._row, messages)}
        with self.lock, self.database.connect() as connection:
            self.table.metadata.create_all(connection)
            connection.execute(self.statement, list(rows.values()))

    def _row(self, message: Message) -> JsonObject:
        body = message.body
        row = {name: body.get(name) for name in ("event", *TEXTS, *NUMBERS)}
        for name in MOMENTS:
            text = body.get(name.removesuffix("_time"))
            row[name] = datetime.datetime.fromisoformat(text).astimezone(datetime.UTC) if text else None
        causes = json.dumps(body["causes"], ensure_ascii=False) if "causes" in body else None
        return row | {"causes": causes, "message": message.to_json()}

    def close(self) -> None:
        """Close the connections."""
        self.database.close()
