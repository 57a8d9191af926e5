"""Choose the columns of times, values, series names, and labels of a table, as configured or inferred."""

import csv
import difflib
import itertools
import re
import types
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from lstm_ae.config import Reading
from lstm_ae.config.options import flag_name, format_csv_line
from lstm_ae.config.reading import COVARIATES, DIRECTIVE, STEPS, Use
from lstm_ae.data.numbers import NumberNotation, are_numbers, infer_notation, missing_words
from lstm_ae.data.timestamps import (
    COUNTER_HEADING,
    OTHER_HEADING,
    TimeForm,
    counts_from_1970,
    counts_steps,
    find_time_problem,
    infer_form,
    is_rising,
    is_time_heading,
    looks_like_times,
    parse_date_parts,
)
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_heading, format_headings, format_names, quote
from lstm_ae.json_types import JsonMapping

Kind = Literal["time", "number", "text", "empty"]

# Largest number of candidates for a pair of columns that identifies series.
MAX_ID_PAIR_COLUMNS = 12

# Headings of hours, and cells with times of day: they tell the rows of a date apart but do not name series. "hours" is
# a duration.
HOUR_HEADING = re.compile(r"hour(?!s)|hhmm|stunde(?!n)|uhr", re.IGNORECASE)
CLOCK = re.compile(r"\d?\d[:.]\d\d\b.*", re.ASCII)

# Headings of a column that names what is measured in each row.
QUANTITY_HEADING = re.compile(r"(?i:_?(field|measurement|metric|variable|parameter|quantity|sensor[ _]?type))")


class Covariates(NamedTuple):
    """Numbers of covariates, which a forecaster reads and does not forecast; they are the last columns of a row.

    Args:
        past: columns that are known up to the time of a forecast.
        known: columns that are known in advance, after those of `past`.
    """

    past: int = 0
    known: int = 0


class Layout(NamedTuple):
    """Roles of the columns of a table.

    Args:
        values: columns of numbers: those to model, then those of `past`, then those of `known`.
        time: column of times; None if rows are counted.
        form: format of the times; None if they are stored as times, as in Parquet.
        aware: whether the times need no time zone.
        ids: columns that together identify the series; empty for a single series.
        label: column of known classes.
        id_candidates: if times are duplicate, columns that would identify the series instead of `ids`, the most likely
            first.
        inferred: description of each inferred setting, by field of the configuration.
        settings: inferred settings that are needed to read another table in the same way, by field of the
            configuration.
        past: columns that a forecast reads and does not predict.
        known: columns known in advance, which a forecast reads over the horizon as well.
        others: kind of each column that has no role.
    """

    values: tuple[str, ...]
    time: str | None = None
    form: TimeForm | None = None
    aware: bool = True
    ids: tuple[str, ...] = ()
    label: str | None = None
    id_candidates: tuple[tuple[str, ...], ...] = ()
    inferred: Mapping[str, str] = types.MappingProxyType({})
    settings: JsonMapping = types.MappingProxyType({})
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    others: Mapping[str, Kind] = types.MappingProxyType({})

    @property
    def targets(self) -> tuple[str, ...]:
        """Columns to model, which a forecast predicts."""
        return self.values[: self.observed - len(self.past)]

    @property
    def covariates(self) -> Covariates:
        """Numbers of the columns that a forecast does not predict."""
        return Covariates(len(self.past), len(self.known))

    @property
    def observed(self) -> int:
        """Number of the columns that are not known in advance, which are first."""
        return len(self.values) - len(self.known)

    def keep_columns(self, mask: Sequence[bool]) -> "Layout":
        """Return the layout with the columns of numbers that a mask selects."""
        values = tuple(name for name, keep in zip(self.values, mask, strict=True) if keep)
        past, known = (tuple(name for name in names if name in values) for names in (self.past, self.known))
        empty: dict[str, Kind] = dict.fromkeys((name for name in self.values if name not in values), "empty")
        return self._replace(values=values, past=past, known=known, others={**self.others, **empty})

    @property
    def dated(self) -> bool:
        """True if rows have calendar times; elapsed times and counters are not."""
        return self.time is not None and not (self.form and self.form.elapsed)

    @property
    def counts(self) -> bool:
        """True if times count steps."""
        return self.form is not None and self.form.unit == STEPS


def join_id_columns(columns: Sequence[Sequence[str]]) -> list[str]:
    """Return the name of the series of each row, `(rows,)`.

    The name is the row's cell or, for several columns, its cells as a line of CSV; "" if a cell is empty.

    Args:
        columns: `(columns, rows)` cells of the columns that identify the series.

    >>> join_id_columns([["a", "a"], ["1", ""]])
    ['a,1', '']
    """
    if len(columns) == 1:
        return list(columns[0])
    rows = list(zip(*columns, strict=True))
    names = {cells: format_csv_line(cells) if all(cells) else "" for cells in set(rows)}
    return [names[cells] for cells in rows]


def split_id_columns(ids: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the cells of each id column, `(rows,)` by column; the inverse of `join_id_columns`.

    Args:
        ids: columns that identify the series; the result is empty without them.
        names: `(rows,)` series names.

    >>> split_id_columns(["plant", "pump"], ["a,1", "a,2"])
    {'plant': ['a', 'a'], 'pump': ['1', '2']}
    """
    if len(ids) < 2:
        return {column: list(names) for column in ids}
    cells = {name: next(csv.reader([name], strict=True)) for name in set(names)}
    return {column: [cells[name][place] for name in names] for place, column in enumerate(ids)}


def drop_missing_cells(cells: Sequence[str], config: Reading) -> list[str]:
    """Return the cells, without surrounding blanks, that are not missing."""
    words = missing_words(config)
    return [cell for cell in cells if cell.lower() not in words]


class TableSample(NamedTuple):
    """Columns of a table with their first rows.

    Args:
        name: what is read, for errors.
        place: "line" or "row", the unit of positions in errors.
        where: file and line of the header, for errors.
        names: all columns in the order of the file.
        cells: first cells of each column, without surrounding blanks.
        stored: type of each column that is not stored as text: "time", "utc" for times with a zone, "number", or
            "other".
        numbering: column that only numbers the rows, as written by pandas; not a value unless it is requested.
    """

    name: str
    place: str
    where: str
    names: Sequence[str]
    cells: Mapping[str, Sequence[str]]
    stored: Mapping[str, str] = types.MappingProxyType({})
    numbering: str | None = None

    def infer_kinds(self, config: Reading) -> dict[str, Kind]:
        """Return the kind of each column, as stored or as its first cells show it."""
        stored: dict[str, Kind] = {"time": "time", "utc": "time", "other": "text"}
        kinds: dict[str, Kind] = {}
        for name in self.names:
            cells = drop_missing_cells(self.cells[name], config)
            if kind := stored.get(self.stored.get(name, "")):
                kinds[name] = kind
            elif not cells:
                kinds[name] = "empty"
            elif looks_like_times(cells, name):
                kinds[name] = "time"
            else:
                kinds[name] = "number" if are_numbers(cells) else "text"
        return kinds


def infer_layout(sample: TableSample, config: Reading, use: Use) -> tuple[Layout, NumberNotation]:
    """Return the roles of the columns and the notation of the numbers, as configured or inferred.

    Args:
        use: what the table is read for.

    Raises:
        ConfigError: if a requested column does not exist.
        DataError: if no column holds numbers, a column of the run is missing, or the times or numbers are ambiguous or
            not readable.
    """
    names, where, index, kinds = sample.names, sample.where, sample.numbering, sample.infer_kinds(config)
    config = config.for_columns(names, where)
    _require_columns(config, names, where, use)
    if len(names) == 1 and kinds[names[0]] == "text":
        raise DataError(
            f"{where}: the rows have one cell each, such as {quote(sample.cells[names[0]][0])}, which is no number. "
            "Separate the cells of a row by commas, semicolons, tabs or bars",
            code=Code.TABLE_HEADER,
        )
    inferred: dict[str, str] = {}
    assigned = {*config.id_col, config.label_col, *config.value_cols, *config.covariates}
    time = config.time_col
    if time is None:
        time, inferred["time_col"] = _choose_time_column(sample, kinds, config, {index, *assigned}, use)
    times: Sequence[str] = () if time is None else sample.cells[time]
    kind = sample.stored.get(time or "")
    stored = time is None or kind in ("time", "utc")
    form = None if stored or time is None else _infer_time_form(sample, time, config, inferred)
    times_found = "no column of times was found" if time is None else f"{quote(time)} holds dates"
    unused = {"time_format": form is None, "time_zone": time is None, "time_unit": not (form and form.unit)}
    for option, is_unused in unused.items():
        if use != "run" and is_unused and getattr(config, option) is not None:
            problem = f"{times_found}. Name the times with --time-col, or leave it out"
            if time is not None and form is None:
                problem = f"{quote(time)} is stored as times. Remove {flag_name(option)}"
            raise ConfigError(f"{flag_name(option)} does not apply: {problem}", code=Code.OPTION_NOT_APPLICABLE)
    targets = config.value_cols or tuple(
        name for name in names if kinds[name] in ("number", "empty") and name not in {time, index, *assigned}
    )
    if not config.value_cols:
        inferred["value_cols"] = describe_values(targets)
    if not any(kinds[name] == "number" or config.value_cols for name in targets):
        raise DataError(
            f"{where}: no column holds numbers to model. Columns: "
            f"{format_names([f'{quote(name)[:60]} ({kinds[name]})' for name in names])}. Pass a table with numbers, or "
            "name columns with --value-cols to see why their cells are not numbers",
            code=Code.TABLE_HEADER,
        )
    if use != "run" and time is not None and len(targets) == 1 and not config.id_col:
        _refuse_tidy_table(sample, kinds, time, targets[0])
    values = (*targets, *config.covariates)
    if index in names and index not in (time, *values, *assigned):
        inferred["index"] = f"{quote(index)} counts the rows and is left out"
    id_candidates = (
        () if time is None else _choose_id_columns(sample, kinds, times, config.id_col, {time, index, *assigned})
    )
    settings = {"date_order": form.order} if form and "date_order" in inferred else {}
    if form and form.unit == STEPS:
        settings["time_unit"] = STEPS
    layout = Layout(
        values,
        time,
        form,
        form.aware if form else kind == "utc",
        config.id_col,
        config.label_col,
        id_candidates,
        inferred,
        settings,
        config.past_cols,
        (*config.known_future, *config.static_cols),
        {name: kinds[name] for name in names if name not in (time, *config.id_col, config.label_col, *values)},
    )
    return _add_notation(layout, sample, config, use)


def _refuse_tidy_table(sample: TableSample, kinds: Mapping[str, Kind], time: str, value: str) -> None:
    """Raise `DataError` if the rows of a time hold the values of several quantities, which a column names."""
    texts = [name for name in sample.names if kinds[name] == "text"]
    names = [name for name in texts if QUANTITY_HEADING.fullmatch(name.strip()) and len(set(sample.cells[name])) > 1]
    if names and len(set(sample.cells[time])) < len(sample.cells[time]):
        others = [time, *(name for name in texts if name != names[0])]
        raise DataError(
            f"{sample.where}: each row holds one quantity, named in {quote(names[0])[:60]}. Write a column for each: "
            f"frame.pivot_table(index={others}, columns={names[0]!r}, values={value!r}).reset_index(). Or add "
            f"--id-col {','.join(map(format_heading, [*others[1:], names[0]]))} to model each as a series",
            code=Code.TABLE_HEADER,
        )


def _add_notation(layout: Layout, sample: TableSample, config: Reading, use: Use) -> tuple[Layout, NumberNotation]:
    """Return the layout with the notation of numbers that the first rows show, and the notation."""
    first = {
        name: drop_missing_cells(cells, config) for name, cells in sample.cells.items() if name not in sample.stored
    }
    # The settings of a run already resolve the ambiguity between dates with points and thousands points.
    dates = map(parse_date_parts, () if use == "run" else first.get(layout.time or "", ())[:1])
    dotted = any(date is not None and date["t"] == "." for date in dates)
    cells = {name: first[name] for name in layout.values if name in first}
    notation = infer_notation(cells, config, sample.where, dotted=dotted)
    inferred, settings = dict(layout.inferred), dict(layout.settings)
    if notation.decimal == "comma" and config.decimal is None:
        inferred["decimal"], settings["decimal"] = "comma, as the first rows show", "comma"
    return layout._replace(inferred=inferred, settings=settings), notation


def _choose_time_column(
    sample: TableSample, kinds: Mapping[str, Kind], config: Reading, assigned: set[str | None], use: Use
) -> tuple[str | None, str]:
    """Return the inferred column of times and the reason for it; None if rows are counted.

    Raises:
        ConfigError: if the configuration describes the times and does not name their column.
        DataError: if a column seems to hold times that cannot be read.
    """
    if config.time_format is not None or config.time_unit is not None:
        option = "--time-unit" if config.time_format is None else "--time-format"
        raise ConfigError(f"{option} needs --time-col, the column that it describes", code=Code.MISSING_OPTION)
    names, cells, where = sample.names, sample.cells, sample.where
    free = [name for name in names if name not in assigned]
    times = [name for name in free if kinds[name] == "time"]
    # A constant column, such as the start of a query, holds no times of rows.
    times.sort(key=lambda name: len(set(cells[name])) == 1 < len(cells[name]))
    series = join_id_columns([cells[name] for name in config.id_col]) if config.id_col else None
    if times:
        others = f" ({format_headings(times[1:])} also)" if times[1:] else ""
        return times[0], f"{quote(times[0])}, as it holds times{others}"
    for name in free:
        if kinds[name] == "number" and counts_steps(cells[name], name, series):
            return name, f"{quote(name)}, as it counts steps"
    for name in free:
        if use == "run" or config.freq == "rows" if kinds[name] == "text" else config.value_cols:
            continue
        filled = drop_missing_cells(cells[name], config)
        problem = find_time_problem(filled, name, first=name == names[0])
        rises = problem is None and kinds[name] == "number" and is_rising(cells[name], series)
        counter = COUNTER_HEADING.fullmatch(name.strip()) is not None
        if rises and (counter or (counts_from_1970(filled) and not OTHER_HEADING.search(name))):
            problem = (
                f"rises and may hold {'elapsed times' if counter else 'times since 1970'}, such as "
                f"{quote(filled[0])[:40]}. If it does, add --time-col {format_heading(name)}"
                f"{' --time-unit s, ms, us or ns' if counter else ''}"
            )
        if problem:
            raise DataError(
                f"{where}: the column {name[:80]!r} {problem}. Or pass another column to --time-col, or "
                f"{'add --freq rows' if kinds[name] == 'text' else 'name the columns to model with --value-cols'}, and "
                "rows are counted",
                code=Code.TIME_VALUE,
            )
    return None, "none; rows are counted, as no column holds times"


def _infer_time_form(sample: TableSample, column: str, config: Reading, inferred: dict[str, str]) -> TimeForm:
    """Return the format of the column of times, and add the inferred settings to `inferred`.

    Raises:
        DataError: if the column does not hold times, or they are ambiguous.
    """
    if config.time_format is not None:
        aware = "z" in DIRECTIVE.findall(config.time_format)
        return TimeForm("", "", aware=aware, pattern=config.time_format)
    filled, where = drop_missing_cells(sample.cells[column], config), sample.where
    options = {"order": config.date_order, "unit": config.time_unit}
    form = infer_form(filled, column, where, **options, counts=config.selects_columns) if filled else None
    if form is None:
        first = f"Its first cell is {quote(filled[0])}" if filled else "Its first cells are empty"
        raise DataError(
            f"{where}: the column {column[:80]!r} does not hold times. {first}. Pass another column to --time-col, "
            "leave it out, or describe the times with --time-format",
            code=Code.TIME_VALUE,
        )
    if form.unit and config.time_unit is None:
        inferred["time_unit"] = f"{form.unit} since 1970, which gives the years 1990 to 2100"
        if form.unit == STEPS:
            inferred["time_unit"] = f"{STEPS}, as no unit gives the years 1990 to 2100"
    loose = any(date and date["a"] for date in map(parse_date_parts, filled))
    if form.order and config.date_order is None and loose:
        orders = {"dmy": "day first", "mdy": "month first"}
        inferred["date_order"] = f"{orders[form.order]}, as the first rows show"
    return form


def _choose_id_columns(
    sample: TableSample,
    kinds: Mapping[str, Kind],
    times: Sequence[str],
    ids: tuple[str, ...],
    assigned: set[str | None],
) -> tuple[tuple[str, ...], ...]:
    """Return candidate columns whose values leave no duplicate time in the first rows, text columns first.

    Candidates hold few distinct texts or integers. Each result is `ids` and one more column, or two if no single one is
    sufficient. The last results add a column that is constant in the first rows, as in a table with one series below
    the other.
    """
    cells, rows, distinct = sample.cells, len(times), {}
    for name in sample.names:
        number, clock = kinds[name] == "number", HOUR_HEADING.search(name) or any(map(CLOCK.fullmatch, cells[name]))
        whole = not is_time_heading(name) and all(map(str.isdecimal, cells[name]))
        if name not in assigned and not clock and (kinds[name] == "text" or (number and whole)):
            distinct[name] = number, len(set(cells[name]))
    possible = sorted((name for name in distinct if 2 * distinct[name][1] <= rows), key=distinct.__getitem__)
    words = {name for name in possible if not distinct[name][0] or distinct[name][1] ** 2 <= rows}
    for size in (1, 2):
        sufficient = []
        for more in itertools.combinations(possible[:MAX_ID_PAIR_COLUMNS], size):
            keys = list(zip(*(cells[name] for name in (*ids, *more)), strict=True))
            # Two columns with many distinct integers leave no duplicate time by chance, unless nearly each pair occurs
            # at each time.
            sure = size == 1 or words.issuperset(more) or len(set(keys)) * len(set(times)) <= 2 * rows
            if sure and 2 * len(set(keys)) <= rows and len(set(zip(keys, times, strict=True))) == rows:
                sufficient.append((*ids, *more))
        if sufficient:
            constant = [name for name in possible if distinct[name][1] == 1 and name not in sufficient[0]]
            return (*sufficient[:2], *((name, *sufficient[0]) for name in constant[:2]))
    return ()


def describe_values(columns: Sequence[str]) -> str:
    """Return the inferred columns to model, with the reason for them."""
    return f"{format_headings(columns)}, as {'they hold' if columns[1:] else 'it holds'} numbers"


def _require_columns(config: Reading, names: Sequence[str], where: str, use: Use) -> None:
    """Raise an error if the table lacks a column of an option, or one that the training table of a run has."""
    roles = {"time_col": (config.time_col,), "label_col": (config.label_col,), "id_col": config.id_col}
    values = {name: getattr(config, name) for name in ("value_cols", *COVARIATES)}
    for option, columns in (roles | values).items():
        column = next((column for column in columns if column is not None and column not in names), None)
        if column is None:
            continue
        advice = _suggest_columns(column, names)
        if use == "run" and option in values:
            raise DataError(
                f"{where} has no column {column[:60]!r}, which the training table has. {advice}", code=Code.TABLE_HEADER
            )
        raise ConfigError(
            f"{flag_name(option)} names {column[:60]!r}, which is not a column of {where}. {advice}",
            code=Code.UNKNOWN_NAME,
        )


def _suggest_columns(column: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(column, names, 3)
    if near:
        return f"Did you mean {', '.join(map(quote, near))}?"
    return f"Its columns are {format_names([quote(name) for name in names])}"
