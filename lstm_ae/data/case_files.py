"""Read files with one labeled series per line, in the `.ts` and `.arff` formats of the UCR and UEA archives.

A case is one series with one class. It becomes consecutive rows of a table with a column of the number of the case, one
column for each dimension, and one of the class.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from lstm_ae.config import Reading
from lstm_ae.config.options import flag_name
from lstm_ae.data.cells import CellReader
from lstm_ae.data.columns import Kind, Layout, TableSample, infer_layout
from lstm_ae.data.csv_reader import CHUNK_CELLS, Chunk, limit_columns
from lstm_ae.data.number_notation import PLAIN_NOTATION
from lstm_ae.data.text import decode_file, open_stable_file
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count, format_names, quote
from lstm_ae.json_types import JsonObject

CASE_COLUMN, CLASS_COLUMN = "case", "class"

# Longest line in characters: one case of a long series with many dimensions.
MAX_CASE_CHARS = 1 << 26

# Largest number of lines in which a header is looked for.
MAX_HEADER_LINES = 10_000

COMMENT_MARKS = ("#", "%")

# First words of lines of the two headers, in lower case.
ARFF_START = "@relation"
TS_FLAGS = ("@timestamps", "@missing", "@univariate", "@equallength", "@targetlabel")
TS_COUNTS = ("@dimensions", "@dimension", "@serieslength")
TS_WORDS = (*TS_FLAGS, *TS_COUNTS, "@problemname", "@classlabel")
DATA_START = "@data"
TS_LABEL_HINT = "Add @classLabel true, followed by the classes, to the header"
ARFF_LABEL_HINT = "Add the class, as in @attribute class {a,b}, as the last attribute"

# Name and type of an attribute, a class in braces, and the last cell of a row with all cells before it.
ATTRIBUTE = re.compile(r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s{'"]+)\s*(\S.*)""")
NOMINAL = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)"|([^,'"]+?))\s*(?:,|$)""")
LAST_CELL = re.compile(r"""(.*),\s*(?:'([^']*)'|"([^"]*)"|([^,'"]*))""")
QUOTED = re.compile(r"""(['"])(.*)\1""")

Lines = Iterator[tuple[int, str]]
Tags = Iterator[tuple[int, str, str]]


class Case(NamedTuple):
    """One series of a file.

    Args:
        values: `(dimensions, steps)` cells, "" where missing.
        label: its class; "" where missing.
    """

    values: list[list[str]]
    label: str


class CaseFormat(NamedTuple):
    """Header of a file.

    Args:
        parse: function that splits a line into the cells of each dimension and the class, "?" where missing.
        labeled: whether each line ends with a class.
        label_hint: what declares the class; "" if the header says whether there is one.
        classes: the classes; empty if the header does not list them.
        dimensions, steps: their number in every case; None if the header does not say it.
    """

    parse: Callable[[str], Case]
    labeled: bool
    label_hint: str
    classes: frozenset[str]
    dimensions: int | None
    steps: int | None


def is_case_file(file: BinaryIO, name: str, encoding: str | None) -> bool:
    """Return whether an open file, apart from comments, begins with a header that has a line of these formats.

    Args:
        file: file open at its start, where it is left.
        name: the file as named in errors.
        encoding: as in `decode_file`.

    Raises:
        DataError: as in `decode_file`.
    """
    lines = decode_file(file, name, encoding, MAX_CASE_CHARS)[1]
    words = (line.split() for line in itertools.islice(lines, MAX_HEADER_LINES))
    tags = (line[0].lower() for line in words if line and not line[0].startswith(COMMENT_MARKS))
    header = itertools.takewhile(lambda tag: tag.startswith("@"), tags)
    found = any(tag in (ARFF_START, DATA_START, *TS_WORDS) for tag in header)
    file.seek(0)
    return found


def case_options(path: str, *, task: str | None = None) -> JsonObject:
    """Return the options that follow from the format of a file; empty for a table in another format.

    Args:
        path: the file.
        task: task of the training; None if it is not given.
    """
    try:
        with open_stable_file(path) as file:
            name = quote(path)
            if not is_case_file(file, name, None):
                return {}
            header = _read_header(_numbered_lines(file, name, None), name)
    except DataError:
        return {}  # reading the table reports the error
    options: JsonObject = {"id_col": (CASE_COLUMN,), "split_by": "series"}
    if task == "classify" or (task is None and header.labeled):
        options |= {"task": "classify", "label_col": CLASS_COLUMN}
    return options


def read_cases(
    file: BinaryIO, name: str, config: Reading, *, of_run: bool = False, lenient: bool = False
) -> tuple[Layout, Iterator[Chunk], CellReader]:
    """Return the layout of an open file with one series per line, an iterator of its chunks, and the reader of numbers.

    Args:
        of_run, lenient: as in `read_delimited`.

    Raises:
        ConfigError: if a requested column does not exist.
        DataError: if the header or a line is not valid, at once or with a later chunk.
    """
    lines = _numbered_lines(file, name, config.encoding)
    header = _read_header(lines, name)
    cases = _parse_cases(header, lines, name)
    first = next(cases, None)
    if first is None:
        raise DataError(f"{name} has a header and no series. Pass a file with data", code=Code.EMPTY_COLUMN)
    dimensions = [f"dim_{place}" for place in range(len(first[1].values))]
    limit_columns(len(dimensions), f"{name}, line {first[0]}")
    names = [CASE_COLUMN, *dimensions, *([CLASS_COLUMN] if header.labeled else [])]
    for option, column, given in (
        ("id_col", CASE_COLUMN, config.id_col),
        ("label_col", CLASS_COLUMN, config.label_col),
    ):
        if given and given not in (column, (column,)):
            raise ConfigError(
                f"{flag_name(option)} must be {column} for {name}, which has one series per line. Received: "
                f"{given if isinstance(given, str) else ','.join(given)}",
                code=Code.UNKNOWN_NAME,
            )
    if config.label_col and not header.labeled:
        hint = header.label_hint or "Pass a file with classes"
        raise ConfigError(f"{name} has no classes. {hint}, or omit --label-col and --task classify", code=Code.LABELS)
    if config.scale == "series":
        raise ConfigError(
            f"--scale series is for series that occur again, and {name} has one series per line. Use --scale window, "
            "or remove it",
            code=Code.OPTION_NOT_APPLICABLE,
        )
    # Without cells, no column is inferred to hold times.
    kinds: dict[str, Kind] = {column: "number" if column in dimensions else "text" for column in names}
    layout = infer_layout(TableSample(names, kinds, lambda _: (), name), config, of_run=of_run)._replace(
        ids=(CASE_COLUMN,)
    )
    reader = CellReader(config, name, "line", PLAIN_NOTATION, of_run=of_run, lenient=lenient)
    places = [dimensions.index(column) for column in layout.values]
    return layout, _make_chunks(itertools.chain([first], cases), layout, places, reader), reader


def _make_chunks(
    cases: Iterator[tuple[int, Case]], layout: Layout, places: Sequence[int], reader: CellReader
) -> Iterator[Chunk]:
    number = 0
    while batch := _take_cases(cases):
        steps = [len(case.values[0]) for _, case in batch]
        lines = np.repeat(np.array([line for line, _ in batch], np.int32), steps)
        values = np.empty((len(lines), len(places)), np.float32)
        for k, (column, place) in enumerate(zip(layout.values, places, strict=True)):
            cells = [cell for _, case in batch for cell in case.values[place]]
            values[:, k] = reader.read(cells, lines, column)
        ids = np.repeat([str(number + place) for place in range(1, len(batch) + 1)], steps).tolist()
        labels = None if layout.label is None else np.repeat([case.label for _, case in batch], steps).tolist()
        yield Chunk(lines, None, values, ids, labels)
        number += len(batch)


def _take_cases(cases: Iterator[tuple[int, Case]]) -> list[tuple[int, Case]]:
    """Return the next cases, at least one if there is any, up to the size of a chunk."""
    batch, cells = [], 0
    for line, case in cases:
        batch.append((line, case))
        cells += len(case.values) * len(case.values[0])
        if cells >= CHUNK_CELLS:
            break
    return batch


def _numbered_lines(file: BinaryIO, name: str, encoding: str | None) -> Lines:
    """Return the lines that are neither empty nor comments, with their numbers."""
    lines = decode_file(file, name, encoding, MAX_CASE_CHARS)[1]
    stripped = ((number, line.strip()) for number, line in enumerate(lines, 1))
    return ((number, line) for number, line in stripped if line and not line.startswith(COMMENT_MARKS))


def _parse_cases(header: CaseFormat, lines: Lines, name: str) -> Iterator[tuple[int, Case]]:
    """Yield the cases with their lines.

    Raises:
        DataError: if a case does not agree with the header, or with the first case where the header does not say it.
    """
    dimensions = header.dimensions
    advice = f"Correct the line{f'. {header.label_hint} if the line ends with its class' * bool(header.label_hint)}"
    for number, line in lines:
        where = f"{name}, line {number}"
        values, label = header.parse(line)
        if not values:
            raise _case_error(where, "the line is not a series followed by its class")
        dimensions = len(values) if dimensions is None else dimensions
        if len(values) != dimensions:
            raise _case_error(
                where, f"{format_count(len(values), 'dimension')} where the file has {dimensions}", advice
            )
        steps = len(values[0]) if header.steps is None else header.steps
        for place, cells in enumerate(values):
            if len(cells) != steps:
                of = f" of dimension {place}" if dimensions > 1 else ""
                raise _case_error(
                    where, f"{format_count(len(cells), 'value')}{of} where there should be {steps}", advice
                )
            if "" in cells:
                raise _case_error(where, f"value {cells.index('') + 1} is empty", "Write ? for a missing value")
        if header.classes and label not in (*header.classes, "?"):
            raise DataError(
                f"{where}: the class {quote(label)[:60]} is not one of the header, "
                f"{format_names(sorted(header.classes))}. Correct it",
                code=Code.LABELS,
            )
        known = [["" if cell == "?" else cell for cell in cells] for cells in values]
        yield number, Case(known, "" if label == "?" else label)


def _case_error(where: str, problem: str, advice: str = "Correct the line") -> DataError:
    return DataError(f"{where}: {problem}. {advice}", code=Code.CELL_VALUE)


def _header_error(name: str, number: int, problem: str) -> DataError:
    return DataError(f"{name}, line {number}: {problem}", code=Code.FILE_FORMAT)


def _read_header(lines: Lines, name: str) -> CaseFormat:
    """Read the header and return the format of the lines that follow.

    Raises:
        DataError: if the header is not valid or not supported.
    """
    tags = _read_tags(lines, name)
    first = next(tags, None)
    if first is None:
        raise DataError(
            f"{name}: there is no header above @data. Add that of a .ts or an .arff file", code=Code.FILE_FORMAT
        )
    read = _read_arff_header if first[1] == ARFF_START else _read_ts_header
    return read(itertools.chain([first], tags), name)


def _read_tags(lines: Lines, name: str) -> Tags:
    """Yield the number, the first word in lower case, and the rest of each line before `@data`."""
    number = 1
    for number, line in lines:
        tag, *rest = line.split(maxsplit=1)
        if tag.lower() == DATA_START:
            return
        if not tag.startswith("@"):
            break
        yield number, tag.lower(), rest[0] if rest else ""
    raise _header_error(name, number, "the header does not end with @data. Add it before the first series")


def _read_ts_header(tags: Tags, name: str) -> CaseFormat:
    flags: dict[str, bool] = {}
    counts: dict[str, int] = {}
    labeled, label_hint, classes = False, TS_LABEL_HINT, frozenset[str]()
    for number, tag, rest in tags:
        word, *more = rest.split() or [""]
        if tag not in TS_WORDS:
            raise _header_error(name, number, f"{quote(tag)} is not known in a .ts file. Remove the line")
        if tag in (*TS_FLAGS, "@classlabel") and word.lower() not in ("true", "false"):
            raise _header_error(name, number, f"{tag} must be true or false. Received: {quote(word)}")
        if tag in TS_COUNTS and not (word.isascii() and word.isdigit() and int(word)):
            raise _header_error(name, number, f"{tag} must be a number from 1. Received: {quote(word)}")
        if tag in TS_COUNTS:
            counts[tag.removesuffix("s")] = int(word)
        elif tag == "@classlabel":
            labeled, label_hint, classes = word.lower() == "true", "", frozenset(more)
        elif tag in TS_FLAGS:
            flags[tag] = word.lower() == "true"
        if flags.get("@timestamps"):
            raise _header_error(name, number, "times in a .ts file are not supported. Pass values without times")
        if flags.get("@targetlabel"):
            raise _header_error(name, number, "numbers as targets are not supported. Pass a file with classes")

    def parse(line: str) -> Case:
        pieces = line.split(":")
        label = pieces.pop().strip() if labeled else "?"
        return Case([[cell.strip() for cell in piece.split(",")] for piece in pieces], label)

    dimensions = 1 if flags.get("@univariate") else counts.get("@dimension")
    steps = counts.get("@serieslength") if flags.get("@equallength", True) else None
    return CaseFormat(parse, labeled, label_hint, classes, dimensions, steps)


def _read_arff_header(tags: Tags, name: str) -> CaseFormat:
    numbers, nested, relational, labeled = 0, False, False, False
    classes = frozenset[str]()
    number = 1
    for number, tag, rest in tags:
        if tag == "@end" and nested:
            nested = False
            continue
        match = ATTRIBUTE.fullmatch(rest)
        if tag == ARFF_START:
            continue
        if tag != "@attribute" or match is None:
            raise _header_error(name, number, "this is no line of an ARFF header. Write @attribute NAME TYPE")
        kind = match[1].strip()
        if labeled:
            raise _header_error(name, number, "the class must be the last attribute. Move it to the end")
        if kind.lower() in ("numeric", "real", "integer") and (nested or not relational):
            numbers += 1
        elif kind.lower() == "relational" and not (relational or numbers):
            nested = relational = True
        elif kind.startswith("{") and kind.endswith("}") and not nested:
            labeled, classes = True, frozenset("".join(found) for found in NOMINAL.findall(kind[1:-1]))
        else:
            raise _header_error(
                name,
                number,
                f"the attribute type {quote(kind)[:40]} is not supported here. Pass numbers, or one relational "
                "attribute of numbers, and the class as the last attribute",
            )
    if not numbers:
        raise _header_error(name, number, "there is no attribute of numbers before @data. Add them")

    def parse(line: str) -> Case:
        label = "?"
        if labeled:
            match = LAST_CELL.fullmatch(line)
            line, label = (match[1].strip(), match[2] or match[3] or (match[4] or "").strip()) if match else (line, "")
        series = [line]
        if relational:
            quoted = QUOTED.fullmatch(line)
            series = quoted[2].split("\\n") if quoted else []
        return Case([[cell.strip() for cell in piece.split(",")] for piece in series], label)

    return CaseFormat(parse, labeled, "" if labeled else ARFF_LABEL_HINT, classes, None if relational else 1, numbers)
