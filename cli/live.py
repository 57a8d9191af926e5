"""`lstmae series detect RUN -`: rows from standard input, searched while they come."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lstm_ae.errors import ConfigError, DataError

from .results import remark
from .stops import until_stopped
from .talk import Talk

if TYPE_CHECKING:
    from lstm_ae.data.telling import Zone
    from lstm_ae.streaming import Decided

NAME = "standard input"
# Rows left out that are said one by one.
MOST = 10


class LeftOut:
    """Rows of a stream that could not be taken, a line on stderr for each of the first, and then ever fewer."""

    def __init__(self, talk: Talk) -> None:
        self.talk, self.count = talk, 0

    def __call__(self, error: DataError) -> None:
        """One more."""
        self.count += 1
        if self.count <= MOST:
            self.talk.say(f"left out: {error}")
        elif self.count & (self.count - 1) == 0:  # a power of two
            self.talk.say(f"left out: {error}; {self.count:,} rows so far")

    def end(self) -> None:
        """Say how many there were."""
        from lstm_ae.words import count

        if self.count:
            self.talk.say(f"{count(self.count, 'row')} left out")


def follow(
    run: Any,
    talk: Talk,
    threshold: str | None,
    *,
    reading: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
    keep_formulas: bool = False,
) -> None:
    """Write a line for every row as soon as its score is decided, and the rest when the stream ends.

    It ends as well with a row that cannot be taken; with `skip_bad` that is said and left out.

    CSV; with `--json` a JSON object a line.
    """
    from lstm_ae.data.arriving import read_arriving
    from lstm_ae.data.levels import of_unknown_series
    from lstm_ae.data.taking import raised
    from lstm_ae.data.zones import zone_of
    from lstm_ae.detection import detector_of
    from lstm_ae.streaming import Stream
    from lstm_ae.table_files import table
    from lstm_ae.tasks.series.settling import read_as

    detector = detector_of(run)
    config = read_as(detector.config, reading)
    stream = Stream(detector._replace(config=config), threshold)
    talk.say(f"anomalies score above {stream.threshold.value:.4g}, by {stream.threshold.rule}")
    talk.say(f"a score is final once the {stream.delay} rows after its row have come; Ctrl-C ends the stream")
    with until_stopped(lambda size: os.read(0, size)) as read:
        # What a training was told to learn from is not known of rows that come.
        left_out = LeftOut(talk)
        refuse = left_out if skip_bad else raised
        layout, chunks = read_arriving(read, NAME, dataclasses.replace(config, label_col=None), refuse)
        timed, zone = layout.time is not None, zone_of(layout, config)
        stream.zone = None if layout.dated else zone
        # The columns' own scores stand in the order of their names, whatever the order in which they come.
        names = layout.values if len(layout.values) > 1 else ()
        columns = [*(["series"] if layout.ids else []), "time", "score", "p", "anomaly", "final"]
        columns += [f"score {name}" for name in names]

        def line(cells: list[Any]) -> str:
            if talk.json:
                return json.dumps(dict(zip(columns, cells, strict=True)))
            return table(None, [cells], keep_formulas=keep_formulas).decode().removesuffix("\n")

        if not talk.json:
            _write([line(columns)])
        problem = None
        try:
            for chunk in chunks:
                new = [name for name in dict.fromkeys(chunk.ids or ()) if name not in stream.tracks]
                if unknown := of_unknown_series(detector.levels.names, new):
                    remark([unknown], talk)
                found = stream.push(chunk.values, chunk.times, chunk.ids, refuse=refuse)
                _write(_lines(found, columns, line, timed=timed, zone=zone))
        except DataError as error:
            problem = error
        _write(_lines(stream.end(), columns, line, timed=timed, zone=zone))
        left_out.end()
        if problem:
            raise problem


def refuse_files(given: dict[str, Any]) -> None:
    """Refuse options that need a whole table: a stream has no end that they could wait for."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"{name} needs a whole table, and - is a stream; give a table's path, or leave it out")


def _lines(
    found: "Decided", columns: list[str], line: Callable[[list[Any]], str], *, timed: bool, zone: "Zone"
) -> Iterator[str]:
    from lstm_ae.data.telling import told_each

    times = told_each(found.times, zone) if timed else found.times.tolist()
    values: list[Any] = [found.series] if "series" in columns else []
    values += [times, *(column.tolist() for column in (found.scores, found.p, found.anomaly, found.final))]
    values += [column.tolist() for column in found.by_feature.T][: len(columns) - len(values)]
    for row in zip(*values, strict=True):
        yield line([None if cell != cell else cell for cell in row])


def _write(lines: Any) -> None:
    """All at once, for whoever waits for them."""
    if text := "".join(f"{line}\n" for line in lines):
        print(text, end="", flush=True)
