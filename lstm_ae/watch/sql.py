"""A source and a sink of `lstmae watch` for SQLite and PostgreSQL, based on SQLAlchemy.

A source orders rows by a column of whole numbers or timestamps and stores its last value. A view can select other rows
or convert columns of other types.
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

# Largest number of characters of a reason in a message.
MAX_REASON = 300

# Greatest whole number of a cursor. This limit excludes text, which SQLite orders after all numbers.
MAX_INTEGER = 2**63 - 1

# Largest number of rows with the same value of the cursor, which are read together.
MAX_TIES = 200_000

# Columns of the table of a sink besides the key.
TEXTS = ("monitor", "series", "kind", "status", "causes", "run", "version", "message")
MOMENTS, NUMBERS = ("start_time", "end_time", "peak_time", "alarm_time"), ("score", "threshold", "p")

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
        """Return the database without connecting to it.

        Raises:
            ConfigError: a secret or a package is missing.
        """
        return Database(self.address(), secret=self.url is None)


class Database:
    """A database whose errors contain no secret.

    Args:
        url: address in the form of SQLAlchemy. The driver for PostgreSQL is pg8000.
        secret: whether errors must not contain the host and the user.

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
            # Other drivers have no time limits and return values of other types.
            raise ConfigError(f"url names the driver {driver!r}. Write {self.kind}:// for {DRIVERS[self.kind]}")
        parsed = parsed.set(drivername=f"{self.kind}+{DRIVERS[self.kind]}")
        self.path = Path(parsed.database) if self.kind == "sqlite" and parsed.database else None
        if self.kind == "sqlite" and self.path is None:
            raise ConfigError("url names no file of SQLite. Write sqlite:///FILE, with four slashes for /FILE")
        secrets = (parsed.password, *((parsed.host, parsed.username) if secret else ()))
        self.secrets = [str(each) for each in secrets if each]
        timeout = TIMEOUT if self.path else QUERY_TIMEOUT
        try:
            with require_extra("url", "sql"):
                self.engine = sa.create_engine(
                    parsed,
                    hide_parameters=True,
                    pool_pre_ping=True,
                    # A connection that stays open would not notice that its file was replaced.
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
        """Open a connection whose transaction is committed at the end of the block.

        Raises:
            RemoteError: the database cannot be reached or refuses a statement.
        """
        exc = self._sa.exc
        try:
            with self.engine.begin() as connection:
                yield connection
        # Drivers also raise errors of sockets, and `TypeError` or `ValueError` for unknown settings.
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
        # The text names a setting that is no option of a watch.
        text = re.sub(r" \(timeout is .*\)$", "", text)
        for each in self.secrets:
            text = re.sub(rf"(?<!\w){re.escape(each)}(?!\w)", "***", text)
        return text[:MAX_REASON].rstrip(".")

    def close(self) -> None:
        """Close the connections. A later statement opens new ones."""
        self.engine.dispose()


def _keep_wrong_text(connection: Any, record: object) -> None:
    """Decode invalid UTF-8 of SQLite to halves of surrogate pairs, so that only the row with this text is refused."""
    connection.text_factory = lambda content: content.decode(errors="surrogateescape")


def _fields(error: Exception) -> JsonMapping:
    """Return the fields of an error of PostgreSQL by letter, such as M for the message; none for other errors."""
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
                "Rows of several series have the same time, and a row that is stored after another one would not be "
                "read. Add delay, such as delay = '30s', or a cursor that differs between all rows",
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
    """The rows of a table or a view. The position is the last value of a column of whole numbers or timestamps.

    A timestamp in the future does not become the position, because later rows with earlier times would not be read.

    Args:
        database: the database.
        table: name of the table, or SCHEMA.TABLE.
        cursor: column by which rows are ordered.
        delay: seconds after which rows are complete; None for at once.
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
        """Return rows in the order of the cursor.

        Args:
            conditions: values with which the column of the cursor is compared, by operator.
            limit: largest number of rows.
        """
        column = self.table.c[self.cursor]
        statement = self._sa.select(*self.table.c).where(column.is_not(None))
        for comparison, value in conditions.items():
            statement = statement.where(column.op(comparison)(value))
        with self.database.connect() as connection:
            return [tuple(row) for row in connection.execute(statement.order_by(column).limit(limit))]

    def read(self, cursor: JsonMapping | None) -> Batch:
        """Return the next rows, including all rows with the last value of the cursor."""
        if self.database.path is not None and not self.database.path.is_file():
            # Connecting would create the file.
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
        """Return the greatest value of the cursor to read now.

        Args:
            value: a value of the column, which determines its type.

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
    """Convert a value of a database to the text of a cell.

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
    """A table with the event as its key, so that a copy of a message changes nothing.

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
        updates = {each.name: insert.excluded[each.name] for each in columns[1:]}
        # A late copy of a first message must not open a resolved event again.
        self.statement = insert.on_conflict_do_update(
            index_elements=["event"], set_=updates, where=self.table.c.status != "resolved"
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
        """Insert a row for each event, or update it."""
        # Only the last of several messages on an event counts.
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
