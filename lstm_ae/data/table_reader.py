"""Read a table into arrays: rows by series, times in UTC, and values with NaN where they are missing.

CSV and Parquet files are read in chunks into float32, so that ten million rows need only a few times their own size in
memory.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.config.options import flag_name
from lstm_ae.config.reading import Use
from lstm_ae.data.columns import describe_values
from lstm_ae.data.csv_reader import scan_csv
from lstm_ae.data.numbers import MISSING_WORDS, NUMBER
from lstm_ae.data.panel import Panel, number_names, sort_rows
from lstm_ae.data.panel_reader import PanelReader
from lstm_ae.data.parquet import MAGIC, arrow_table, scan_arrow
from lstm_ae.data.text import is_compressed, open_stable_file
from lstm_ae.data.timestamps import DATE_ORDERS, AmbiguousDates
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_heading, format_headings, quote

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

Progress = Callable[[int, float], None]

# Decimals of a whole number.
ZEROS = re.compile(r"(?<=\d)\.0*$", re.ASCII)
# Options for CSV that do not apply to Parquet.
PARQUET_EXCLUDES = ("columns", "skip_rows", "comment", "encoding")


def read_panel(
    config: Reading,
    progress: Progress | None = None,
    *,
    source: "pd.DataFrame | pyarrow.Table | None" = None,
    name: str = "frame",
    use: Use = "training",
) -> Panel:
    """Read a table: the file `config.data`, or rows in memory as the same rows in a Parquet file.

    Args:
        progress: function called with the number of rows read and the fraction of the file.
        source: the rows in memory, without the index of a data frame; None to read the file.
        name: the rows in memory as named in errors.
        use: what the table is read for. A check treats cells that are not numbers as missing and collects them;
            otherwise the first one raises an error. The configuration of a run describes its own table: another one may
            have an empty column, and times with an offset, as in the output of a run.

    Raises:
        ConfigError: if a requested column does not exist, or an option does not fit the file.
        DataError: if the file cannot be interpreted. The message is one line with the rule and the option that helps.
    """
    read = functools.partial(_read_panel, progress=progress, source=source, name=name, use=use)
    try:
        return read(config)
    except AmbiguousDates as error:
        problem = error
    # Later rows may decide: all dates may be valid in one order only. A time that daylight saving time skips or repeats
    # does not decide the order.
    valid = []
    for order in DATE_ORDERS:
        try:
            read(dataclasses.replace(config, date_order=order, time_zone=None))
            valid.append(order)
        except DataError as error:
            if error.code is not Code.TIME_VALUE:
                raise
    if len(valid) != 1:
        raise problem
    panel = read(dataclasses.replace(config, date_order=valid[0]))
    inferred = {**panel.layout.inferred, "date_order": f"{valid[0]}, as later rows show"}
    settings = {**panel.layout.settings, "date_order": valid[0]}
    return panel._replace(layout=panel.layout._replace(inferred=inferred, settings=settings))


def read(source: "BinaryIO | pyarrow.Table", config: Reading, name: str, use: Use) -> Iterator[Panel]:
    """Yield the rows of a table in its order, as panels with the labels as written for classes, see `join_panels`.

    Args:
        source: an open CSV or Parquet file, or a table in memory.
        name: the source as named in errors.
        use: as in `read_panel`.

    Raises:
        ConfigError, DataError: as in `read_panel`, at once or with a later panel.
    """
    import pyarrow

    if isinstance(source, pyarrow.Table) or os.pread(source.fileno(), len(MAGIC), 0) == MAGIC:
        sample, scan = scan_arrow(source, name)
    else:
        sample, scan = scan_csv(source, name, config, use)
    reader = PanelReader(sample, config, use)
    for lines, columns in scan(reader.columns):
        yield reader.read(lines, columns)


def _read_panel(
    config: Reading,
    *,
    progress: Progress | None,
    source: "pd.DataFrame | pyarrow.Table | None",
    name: str,
    use: Use,
) -> Panel:
    notes: tuple[str, ...] = ()
    if source is not None:
        table = source if hasattr(source, "schema") else arrow_table(source, name)
        panel = join_panels(read(table, config, name, use), config)
    elif config.data is None:
        raise ConfigError("There is no table to read. Pass DATA, the path of a table", code=Code.MISSING_OPTION)
    else:
        with open_stable_file(config.data) as file:
            size = max(os.fstat(file.fileno()).st_size, 1)
            head, end = (os.pread(file.fileno(), len(MAGIC), place) for place in (0, size - 1))
            if head == MAGIC and use != "run":
                _refuse_csv_options(config)
            elif end.isdigit() and not (head == MAGIC or is_compressed(head)):
                notes = ("the file ends within its last line, so its last number may be cut",)

            def report(rows: int) -> None:
                if progress:
                    progress(rows, min(os.lseek(file.fileno(), 0, os.SEEK_CUR) / size, 1.0))

            panel = join_panels(read(file, config, quote(config.data), use), config, report)
    if progress:
        progress(len(panel.lines), 1.0)
    layout = panel.layout
    if layout.aware and config.time_zone is not None and use != "run":
        raise ConfigError(
            f"--time-zone is for times without an offset, and those of {layout.time!r} have one or count from 1970 in "
            "UTC. Leave --time-zone out",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    return _drop_empty_columns(panel, config, use)._replace(notes=notes)


def _refuse_csv_options(config: Reading) -> None:
    """Raise `ConfigError` if an option for CSV is given."""
    for option in PARQUET_EXCLUDES:
        if getattr(config, option):
            raise ConfigError(
                f"{flag_name(option)} is for CSV, and {quote(config.data)} is a Parquet file. Leave it out",
                code=Code.OPTION_NOT_APPLICABLE,
            )


def join_panels(panels: Iterable[Panel], config: Reading, report: Callable[[int], None] | None = None) -> Panel:
    """Return the panels of a table as one, with its rows sorted and its labels numbered.

    Args:
        report: function called with the number of rows that were read.

    Raises:
        DataError: if the name of a series is missing, a counter falls, or labels are ambiguous.
    """
    pieces: list[Panel] = []
    for panel in panels:
        pieces.append(panel)
        if report:
            report(sum(len(piece.lines) for piece in pieces))
    series, ids = number_names([(piece.series, piece.ids) for piece in pieces])
    panel = pieces[-1]._replace(
        ids=ids,
        series=series,
        segment=series,
        times=np.concatenate([piece.times for piece in pieces]),
        values=np.concatenate([piece.values for piece in pieces]),
        lines=np.concatenate([piece.lines for piece in pieces]),
    )
    if panel.layout.ids and "" in ids:
        raise DataError(
            f"{panel.where(int((series == ids.index('')).argmax()))}, column "
            f"{' or '.join(map(repr, panel.layout.ids))}: the name of the series is missing. Write it, or remove "
            "the row",
            code=Code.SERIES_NAME,
        )
    if panel.layout.counts:
        _refuse_restart(panel)
    if panel.labels is not None:
        codes, words = number_names([(piece.labels, piece.classes) for piece in pieces if piece.labels is not None])
        classes, places = _encode_classes(words, panel, config)
        panel = panel._replace(labels=places[codes], classes=classes)
    return sort_rows(panel)


def _drop_empty_columns(panel: Panel, config: Reading, use: Use) -> Panel:
    """Return a panel without the columns that hold no value; a run keeps those that are readable.

    Raises:
        DataError: if no column remains, or an empty column was requested.
    """
    layout, unread = panel.layout, {cells.column for cells in panel.bad}
    empty = [column for k, column in enumerate(layout.values) if np.isnan(panel.values[:, k]).all()]
    if panel.bad and len(empty) == len(layout.values):
        raise panel.bad[0].error
    names = format_headings(empty)
    requested = {*config.value_cols, *config.covariates} & set(empty) - unread
    if len(empty) == len(layout.values) or (requested and use != "run"):
        raise DataError(
            f"{panel.name}: no row holds a value of {names}. Leave out a column without values", code=Code.EMPTY_COLUMN
        )
    if use == "run" or not empty:
        return panel
    mask = [column not in empty for column in layout.values]
    layout = layout.keep_columns(mask)
    notes = {"value_cols": describe_values(layout.targets), "empty": f"{names} left out, without any value"}
    return panel._replace(values=panel.values[:, mask], layout=layout._replace(inferred={**layout.inferred, **notes}))


def _refuse_restart(panel: Panel) -> None:
    """Raise `DataError` for the first row whose counter is less than that of the row before it in its series.

    Sorted by a counter that restarts, rows of different recordings would alternate.
    """
    by_series = np.argsort(panel.series, kind="stable")
    falls = (np.diff(panel.times[by_series]) < 0) & (np.diff(panel.series[by_series]) == 0)
    if not falls.any():
        return
    before, row = by_series[int(falls.argmax()) :][:2]
    advice = "frame['recording'] = (frame[column].diff() < 0).cumsum() and --id-col recording"
    if panel.layout.id_candidates:
        advice = f"--id-col {','.join(map(format_heading, panel.layout.id_candidates[0]))}"
    raise DataError(
        f"{panel.where(row)}, column {panel.layout.time!r}: the counter falls from {panel.times[before]} to "
        f"{panel.times[row]}. If it restarts, add {advice}; else sort the rows, frame.sort_values(column)",
        code=Code.TIME_ORDER,
    )


def _encode_classes(labels: Sequence[str], panel: Panel, config: Reading) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the classes of distinct labels, and the index of the class of each label, -1 where missing.

    A label is missing if it is empty, nan, or one of `--missing`. Whole numbers have no decimals: 1.0 is the class 1.

    Raises:
        DataError: if the labels are numbers and another word for a missing value.
    """
    missing = {"", "nan", *(_label(word).lower() for word in config.missing)}
    names = list(map(_label, labels))
    present = {name for name in names if name.lower() not in missing}
    words = {name for name in present if name.lower() in MISSING_WORDS}
    values = present - words
    if words and values and all(map(NUMBER.fullmatch, values)):
        raise DataError(
            f"{panel.name}: the labels in {panel.layout.label!r} are numbers, and {quote(min(words))}. Add "
            f"--missing {','.join(sorted(words))} if that is a missing label",
            code=Code.LABELS,
        )
    numbers = all(map(NUMBER.fullmatch, present))
    classes = tuple(sorted(present, key=float)) if numbers else tuple(sorted(present))
    place = {name: k for k, name in enumerate(classes)}
    return classes, np.array([place.get(name, -1) for name in names], np.int32)


def _label(cell: str) -> str:
    """Return a label without the decimals of a whole number.

    >>> _label("1.0"), _label("1.50"), _label("v1.0"), _label(".0")
    ('1', '1.50', 'v1.0', '.0')
    """
    return ZEROS.sub("", cell) if NUMBER.fullmatch(cell) else cell
