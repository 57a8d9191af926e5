"""Find the classes of a table, assign them to windows, and choose how to divide the series.

A window has the class of its last row. If each series has a single class, a window is a whole series and whole series
are divided: a model that has seen the beginning of a series could otherwise recognize the series instead of the class.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_ae.config import Reading, Series
from lstm_ae.data.grid import common_step, grid_slots
from lstm_ae.data.panel import Panel
from lstm_ae.data.split import find_series_labels
from lstm_ae.data.windows import Data, hash_arrays
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, format_heading, format_headings, format_names
from lstm_ae.json_types import JsonObject

# A column with more different labels probably holds numbers, not classes.
MAX_CLASSES = 1000

# Minimum number of series with a single class for a split by whole series.
MIN_WHOLE_SERIES = 10

# Maximum length of the longest series, in steps, for a default window of a whole series.
MAX_SERIES_WINDOW = 1000


class Division(NamedTuple):
    """How the data of a classifier is divided, and the window if it is a whole series.

    Args:
        settings: `split_by`, `window`, and `max_gap`, and from `choose_classes` also `classes`.
        table: table with the label of each series in all of its rows if whole series are divided.
        inferred: description of each inferred setting, by field of the configuration.
        test: table of the test split, with labels as in `table`; None without one.
    """

    settings: JsonObject
    table: Panel
    inferred: dict[str, str]
    test: Panel | None = None


def choose_classes(config: Series, table: Panel, test: Panel | None = None) -> Division:
    """Choose the classes, how the data is divided, and the window if it is a whole series.

    Args:
        test: table of the test split; None if the split consists of rows of `table`.

    Raises:
        ConfigError: if a requested class does not exist.
        DataError: if there are fewer than two or more than `MAX_CLASSES` classes, or the test split has other classes.
    """
    names = config.classes or table.classes
    _require_classes(names, config, table)
    inferred = {} if config.classes else {"classes": format_headings(names)}
    table = encode_labels(table, names)
    if test is not None:
        labeled = encode_labels(test, names)
        if not config.classes:
            _require_known_classes(test, labeled, table)
        test = labeled
    division = choose_division(config, table, test)
    return division._replace(
        settings={"classes": names, **division.settings}, inferred={**inferred, **division.inferred}
    )


def choose_division(config: Reading, table: Panel, test: Panel | None = None) -> Division:
    """Choose whether whole series or rows are divided between the splits, and the window if it is a whole series.

    Args:
        table: table whose labels are classes.
        test: table of the test split, whose labels are classes too; None if the split consists of rows of `table`.
    """
    inferred: dict[str, str] = {}
    own = find_series_labels(table) if table.layout.ids else None
    split_by, window, max_gap = config.split_by, config.window, config.max_gap
    if split_by is None:
        labeled = 0 if own is None else int((own >= 0).sum())
        split_by = "series" if labeled >= MIN_WHOLE_SERIES else "time"
        if table.layout.ids:
            reason = f"{labeled:,} series have a single class (at least {MIN_WHOLE_SERIES} are needed)"
            inferred["split_by"] = f"{split_by}, as {'a series has several classes' if own is None else reason}"
    if own is not None and split_by == "series":
        table, test = spread_series_labels(table), None if test is None else spread_series_labels(test)
        step, merge = config.step or common_step(table), config.duplicates != "error"
        longest = max(int(grid_slots(each, step, merge=merge).max()) for each in (table, test) if each is not None) + 1
        if window is None and longest <= MAX_SERIES_WINDOW:
            window = max(longest, 2)
            inferred["window"] = f"{window} steps, the longest series"
            max_gap = window if max_gap is None else max_gap
    return Division({"split_by": split_by, "window": window, "max_gap": max_gap}, table, inferred, test)


def _require_classes(names: Sequence[str], config: Series, table: Panel) -> None:
    label, labels = format_heading(str(config.label_col)), format_headings(table.classes)
    for name in names:
        if name not in table.classes:
            raise ConfigError(
                f"--classes names {format_heading(name)}, which is not a label in {label}. The labels are {labels}",
                code=Code.UNKNOWN_NAME,
            )
    if len(names) < 2:
        raise DataError(
            f"{table.name}: {label} holds {f'only one class, {labels}' if names else 'no class'}, but a classifier "
            "needs two. Pass another --label-col or rows of other classes",
            code=Code.LABELS,
        )
    if len(names) > MAX_CLASSES:
        raise DataError(
            f"{table.name}: {label} holds {len(names):,} distinct labels; the limit is {MAX_CLASSES:,} "
            "classes. Pass another --label-col, or select classes with --classes",
            code=Code.LABELS,
        )


def _require_known_classes(test: Panel, labeled: Panel, table: Panel) -> None:
    """Raise `DataError` if a label of the test split is not a class of the training table.

    Args:
        test: table of the test split as read.
        labeled: that table with the classes of the training table.
        table: the training table.
    """
    unknown = find_unknown_labels(test, labeled)
    if not unknown:
        return
    assert test.labels is not None
    first = test.first_in_file(np.asarray(test.labels == test.classes.index(unknown[0])))
    raise DataError(
        f"{test.where(first)}: the label {format_heading(unknown[0])} is not a class of {table.name}, whose classes "
        f"are {format_headings(table.classes)}. Correct it, or list the classes with --classes; "
        "rows with other labels then count as unlabeled",
        code=Code.LABELS,
    )


def find_unknown_labels(table: Panel, labeled: Panel) -> tuple[str, ...]:
    """Return the labels of a table that are not classes.

    Args:
        table: the table as read.
        labeled: the result of `encode_labels`.
    """
    if table.labels is None or labeled.labels is None:
        return ()
    indices = np.full(len(table.classes) + 1, -1)
    indices[table.labels] = labeled.labels
    return tuple(name for name, index in zip(table.classes, indices, strict=False) if index < 0)


def encode_labels(table: Panel, names: Sequence[str]) -> Panel:
    """Return the table with labels that are indices of the given classes; -1 for other and missing labels."""
    if table.labels is None:
        return table
    places = {name: place for place, name in enumerate(names)}
    indices = [places.get(name, -1) for name in table.classes]
    return table._replace(labels=np.array([*indices, -1], np.int32)[table.labels], classes=tuple(names))


def spread_series_labels(table: Panel) -> Panel:
    """Return the table with the label of each series in all of its rows.

    The table is returned unchanged if a series has several labels.
    """
    own = find_series_labels(table)
    return table if own is None else table._replace(labels=own[table.series])


def drop_unlabeled_windows(data: Data, config: Series) -> Data:
    """Return the data without windows that have no class, with notes about the consequences.

    Raises:
        DataError: if a split has no window with a class, or the training windows are all of one class.
    """
    splits = {"training": data.train, "validation": data.validation, "test": data.test}
    label, dropped = format_heading(str(config.label_col)), 0
    labeled, counts, labels = [], {}, []
    for name, split in splits.items():
        assert split.label is not None
        known = split.select(split.label >= 0)
        assert known.label is not None
        if not known.samples and split.samples:
            raise DataError(
                f"The {name} split holds no window whose last row has a class in {label}. Pass --split-by series if "
                "whole series have a class, another --split, or label more rows",
                code=Code.LABELS,
            )
        dropped += split.samples - known.samples
        labeled.append(known)
        labels.append(known.label)
        counts[name] = np.bincount(known.label, minlength=len(config.classes))
    seen = counts["training"] > 0
    if seen.sum() < 2:
        raise DataError(
            "The training split holds windows of only one class, "
            f"{format_heading(config.classes[int(seen.argmax())])}. Pass "
            "--split-by series if whole series have a class, or rows of more classes in its time range",
            code=Code.LABELS,
        )
    notes = list(data.source.notes)
    if dropped:
        notes.append(f"{format_count(dropped, 'window')} without a class omitted")
    if unseen := [format_heading(name) for name, known in zip(config.classes, seen, strict=True) if not known]:
        notes.append(f"no training window has the class {format_names(unseen)}; other windows of it count as errors")
    classes = np.frombuffer("\n".join((data.source.sha256, *config.classes)).encode(), np.uint8)
    source = data.source._replace(notes=tuple(notes), sha256=hash_arrays(classes, *labels))
    train, validation, test = labeled
    return data._replace(train=train, validation=validation, test=test, source=source, classes=config.classes)
