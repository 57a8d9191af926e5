"""Put the rows of a series on its grid while they arrive."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lstm_ae.arrays import Float32Array, Int64Array
from lstm_ae.config import Reading
from lstm_ae.config.reading import TimeStep
from lstm_ae.data.grid import grid_positions, lay_out_rows, max_position, next_positions
from lstm_ae.data.panel import rows_with_values
from lstm_ae.data.time_zones import format_time
from lstm_ae.errors import Code, DataError

Result = TypeVar("Result")

Refuse = Callable[[DataError], None]


def apply_in_parts(rows: Sequence[Any], act: Callable[[Any], Result], refuse: Refuse) -> Iterator[Result]:
    """Yield the results of `act` on rows, at once if possible, else on successively smaller parts in order.

    Args:
        act: function of one or more rows. If it raises `DataError`, it must not have changed any state.
        refuse: function that receives the error of a single row, after the results of the rows before it were yielded.
    """
    try:
        result = act(rows)
    except DataError as error:
        problem = error
    else:
        yield result
        return
    if len(rows) == 1:
        refuse(problem)
        return
    half = len(rows) // 2
    yield from apply_in_parts(rows[:half], act, refuse)
    yield from apply_in_parts(rows[half:], act, refuse)


class GridPiece(NamedTuple):
    """Rows one step apart.

    Args:
        begins: whether the rows follow a long gap, so that no window may include earlier rows.
        times: `(rows,)` int64 nanoseconds in UTC, or row numbers; for a missing row, the time at which it was due.
        values: `(rows, features)` float32, NaN where missing.
    """

    begins: bool
    times: Int64Array
    values: Float32Array


class GridState(NamedTuple):
    """Grid of a series after some of its rows: time of position 0, and time and position of the last row (-1: none)."""

    origin: int
    time: int
    place: int


class IncomingGrid:
    """Grid of one series whose rows are still arriving.

    No two rows may share a position. A row without any value is released once it is known whether its gap is long.

    Args:
        config: complete configuration of a run.
        features: number of values per row.
        name: name of the series for errors; "" if there is only one.
    """

    def __init__(self, config: Reading, features: int, name: str) -> None:
        self.of = f" of {name!r}" if name else ""
        self.step, self.rule, self.max_gap = config.step or TimeStep(), config.duplicates, config.max_gap or 0
        self.features = features
        # Number of rows, time of the newest one, and the grid after the newest row on it.
        self.counted, self.newest = 0, 0
        self.state: GridState | None = None
        # Times and positions of the newest row with a value and of the later rows without one (in a long gap, only of
        # the newest of these), and how many of them are on the grid already.
        self.gap, self.placed = (np.empty(0, np.int64), np.empty(0, np.int64)), 1

    def push(self, values: Float32Array, times: Int64Array) -> list[GridPiece]:
        """Add the next rows and return those that are complete.

        Args:
            values: `(rows, features)`, NaN where missing; at least one row.
            times: `(rows,)` int64 nanoseconds since 1970 in UTC.

        Raises:
            DataError: if a row is earlier than the row before it, or shares its position. No row is added then.
        """
        count = len(values)
        state = self.state or GridState(int(times[0]), int(times[0]) - self.step.size, -1)
        if count == 1 and (piece := self._push_next(values, int(times[0]), state)):
            return [piece]
        self._refuse_late(times, self.newest if self.counted else int(times[0]))
        places = self._places(times, state)
        self._refuse_clash(times, places, state)
        self.counted, self.newest = self.counted + count, int(times[-1])
        return self._place_rows(times, values, places, state)

    def _push_next(self, values: Float32Array, time: int, state: GridState) -> GridPiece | None:
        """Add a row that follows one step after the row before it, the usual case; return None for any other row."""
        size = self.step.size
        if self.rule != "error" or not size or self.step.months or state.place < 0 or np.isnan(values).all():
            return None
        alone = self.placed == 1 and len(self.gap[0]) == 1
        alone = alone and state.place < max_position(time - state.origin, self.step)
        if not alone or time < self.newest or (time - state.time + size // 2) // size != 1:
            return None
        self.counted, self.newest, self.state = self.counted + 1, time, state._replace(time=time, place=state.place + 1)
        times = np.array([time])
        self.gap = times, np.array([state.place + 1])
        return GridPiece(False, times, values.astype(np.float32))

    def _places(self, times: Int64Array, state: GridState) -> Int64Array:
        """Return the positions of the next rows, see `grid_slots`."""
        if self.step == TimeStep():
            return np.arange(self.counted, self.counted + len(times))
        if self.rule == "error" and not self.step.months:
            places = state.place + np.cumsum(next_positions(times, np.array([state.time]), self.step))
            return np.minimum(places, max_position(times - state.origin, self.step))
        return grid_positions(times, np.full_like(times, state.origin), self.step, None)

    def _refuse_late(self, times: Int64Array, before: int) -> None:
        late = np.flatnonzero(np.diff(times, prepend=before) < 0)
        if len(late):
            at = int(late[0])
            before = int(times[at - 1]) if at else before
            raise DataError(
                f"A row{self.of} at {format_time(int(times[at]))} comes after one at {format_time(before)}; rows of a "
                "stream must be in order of time. Sort them, or write times with their offset from UTC",
                code=Code.TIME_ORDER,
            )

    def _refuse_clash(self, times: Int64Array, places: Int64Array, state: GridState) -> None:
        again = np.flatnonzero(np.diff(places, prepend=state.place) == 0)
        if len(again):
            at = int(again[0])
            distance = int(times[at]) - (int(times[at - 1]) if at else state.time)
            why = f"is only {self.step.resized(distance).text} after the one before, too close" if distance else ""
            raise DataError(
                f"A row{self.of} at {format_time(int(times[at]))} {why or 'has the time of the one before'} for a step "
                f"of {self.step.text}. Remove or merge such rows, add --id-col with the column of the series, or train "
                "with another --freq",
                code=Code.TIME_ORDER,
            )

    def _place_rows(
        self, times: Int64Array, values: Float32Array, places: Int64Array, state: GridState
    ) -> list[GridPiece]:
        """Return rows whose positions are complete, with the missing rows between them and the row before.

        Args:
            state: the grid before these rows.
        """
        if state.place < 0:  # the first row follows a virtual row one step earlier
            self.gap = times[:1], places[:1] - 1
        self.state = state._replace(time=int(times[-1]), place=int(places[-1]))
        waiting = len(self.gap[0])
        times, places = np.r_[self.gap[0], times], np.r_[self.gap[1], places]
        values = np.concatenate([np.full((waiting, self.features), np.nan, np.float32), values])
        observed = rows_with_values(values)
        observed[0] = True
        rows = lay_out_rows(places, times, observed, np.arange(len(times)) == 0, self.max_gap, self.step, None)
        at = np.flatnonzero(rows.known)
        newest, in_long_gap = int(np.flatnonzero(observed)[-1]), bool(rows.in_long_gap[-1])
        start, end = self.placed, len(times) if in_long_gap else newest + 1
        self.gap = (times[[newest, -1]], places[[newest, -1]]) if in_long_gap else (times[newest:], places[newest:])
        self.placed = 1 + in_long_gap
        if end <= start:
            return []
        released = slice(at[start - 1] + 1, at[end - 1] + 1)
        times, begins, known = rows.times[released], rows.begins[released], rows.known[released]
        values = np.where(known[:, None], values[rows.source[released]], np.float32(np.nan))
        cuts = [0, *(np.flatnonzero(begins[1:]) + 1).tolist(), len(begins)]
        return [
            GridPiece(bool(begins[first]), times[first:end], values[first:end])
            for first, end in itertools.pairwise(cuts)
        ]
