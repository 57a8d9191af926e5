"""The grid of a series whose rows are still coming: as `lstm_ae.data.grid` lays a whole table out, piece by piece."""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_ae.config import Reading
from lstm_ae.config.reading import UNITS, Step
from lstm_ae.data.cadence import followed, of_autumn, places_of
from lstm_ae.data.grid import held_by, laid_out, merged, parting_of
from lstm_ae.data.instants import Times
from lstm_ae.data.telling import Zone, told
from lstm_ae.errors import DataError

Floats = NDArray[np.float32]


class Piece(NamedTuple):
    """Rows one step apart.

    Args:
        begins: whether they follow a long gap, so that nothing that crosses it means anything.
        times: `(rows,)` int64 nanoseconds in UTC, or row numbers; of a missing row when it would have been.
        values: `(rows, features)`, NaN where missing.
    """

    begins: bool
    times: Times
    values: Floats


class Growing:
    """The grid of one series.

    A row is on it once no other can take its place, and one without any value once it is known whether its gap is long.

    Args:
        config: of a run, with nothing left open.
        features: numbers a row.
        name: of the series, for errors; "" where there is one.
        zone: how errors tell times.
    """

    def __init__(self, config: Reading, features: int, name: str = "", zone: Zone = None) -> None:
        self.zone = zone
        self.of = f" of {name!r}" if name else ""
        self.step, self.rule, self.max_gap = config.step or Step(), config.duplicates, config.max_gap or 0
        self.zoned = config.time_zone is not None
        self.counted = 0
        # Once there are any: times of the first row, of place 0, of the newest row and of the newest that is on the
        # grid, and its place.
        self.begun = self.origin = self.newest = self.last = self.place = -1
        # Rows of the newest place, while others may still join them.
        self.held = (np.empty(0, np.int64), np.empty((0, features), np.float32))
        # Times and places of the newest row with a value and of those without one since, in a long gap of the newest
        # alone; how many of these are on the grid.
        self.gap, self.laid = (np.empty(0, np.int64), np.empty(0, np.int64)), 1

    def push(self, values: Floats, times: Times | None = None) -> list[Piece]:
        """Take the next rows and return those that are on the grid now.

        Args:
            values: `(rows, features)`, NaN where missing; one row at least.
            times: `(rows,)` int64 nanoseconds since 1970 in UTC; None where rows just follow one another.

        Raises:
            DataError: a row is earlier than one before it, or has its place, and the rule for duplicates is "error";
                none of them is taken.
        """
        counted = np.arange(self.counted, self.counted + len(values))
        times = counted if times is None else times
        if not self.counted:
            self.begun = self.origin = self.newest = int(times[0])
        self._refuse_late(times)
        origin = self.origin
        if self.step == Step():
            self.counted, self.newest = self.counted + len(values), int(times[-1])
            return self._laid_out(times, values, counted)
        times, values = np.concatenate([self.held[0], times]), np.concatenate([self.held[1], values])
        if self.rule == "error" and not self.step.months:
            places, origin, fast = followed(
                times, self.step, begun=self.begun, origin=self.origin, place=self.place, before=self.last
            )
        else:
            places, fast = self._places(times), None
        if self.rule == "error":
            self._refuse_clash(times, places, fast)
        self.counted, self.newest, self.origin = self.counted + len(counted), int(times[-1]), origin
        new = places > self.place
        times, values, places = times[new], values[new], places[new]
        if self.rule in ("last", "mean") and len(places):
            newest = places == places[-1]
            self.held = times[newest], values[newest]
            times, values, places = times[~newest], values[~newest], places[~newest]
        return self._laid_out(times, values, places)

    def end(self) -> list[Piece]:
        """What is left, as no more will come."""
        times, values = self.held
        return self._laid_out(times, values, self._places(times), over=True)

    def _places(self, times: Times) -> Times:
        return places_of(times, np.full_like(times, self.origin), self.step)

    def _refuse_late(self, times: Times) -> None:
        late = np.flatnonzero(np.diff(times, prepend=self.newest) < 0)
        if len(late):
            at = int(late[0])
            before = int(times[at - 1]) if at else self.newest
            raise DataError(
                f"A row{self.of} at {self._told(times[at])} comes after one at {self._told(before)}; rows of a stream "
                f"must come in the order of time. {self._hint(times[at], before)}"
                "Sort them, or write them to a file and search that"
            )

    def _told(self, time: int | np.int64) -> str:
        return told(int(time), self.zone)

    def _hint(self, time: np.int64, before: int) -> str:
        """What helps where clocks may have gone back from the one time to the other."""
        back = before - int(time) <= UNITS["h"] and not self.zoned and of_autumn(np.array([time])).all()
        return "Add --time-zone with the zone of these clocks, if daylight saving repeats this hour. " if back else ""

    def _refuse_clash(self, times: Times, places: Times, fast: int | None) -> None:
        known = places if fast is None else places[:fast]
        again = np.flatnonzero(np.diff(known, prepend=self.place) == 0)
        if not len(again) and fast is None:
            return
        at = int(again[0]) if len(again) else fast or 0
        apart = int(times[at]) - (int(times[at - 1]) if at else self.last)
        why = "has the time of the one before"
        if apart:
            why = f"is only {self.step.resized(apart)} after the one before, too near"
        hint = "" if apart else self._hint(times[at], int(times[at]))
        raise DataError(
            f"A row{self.of} at {self._told(times[at])} {why}{'' if len(again) else ', as others were,'} for a step of "
            f"{self.step}. {hint}Add --duplicates mean (or first, last), or --id-col with the column that tells series "
            "apart, or train with another --freq"
        )

    def _laid_out(self, times: Times, values: Floats, places: Times, *, over: bool = False) -> list[Piece]:
        """Rows of places that nothing can join any more, and what is missing between them and the row before.

        Args:
            over: whether no more will come, so that rows without a value wait for none.
        """
        if len(times):
            kept, values, _ = merged(np.zeros(len(times), np.int32), values, None, places, self.rule)
            times, places = times[kept], places[kept]
            if self.place < 0:  # what a first row follows
                self.gap = times[:1], places[:1] - 1
            self.last, self.place = int(times[-1]), int(places[-1])
        waiting = len(self.gap[0])
        times, places = np.r_[self.gap[0], times], np.r_[self.gap[1], places]
        if len(times) <= self.laid:
            return []
        values = np.concatenate([np.full((waiting, values.shape[1]), np.nan, np.float32), values])
        held = held_by(values)
        held[0] = True
        parting = parting_of(places, held, np.arange(len(times)) == 0, self.max_gap)
        newest, apart = int(np.flatnonzero(held)[-1]), bool(parting.apart[-1])
        start, end = self.laid, len(times) if over or apart else newest + 1
        self.gap = (times[[newest, -1]], places[[newest, -1]]) if apart else (times[newest:], places[newest:])
        self.laid = 1 + apart
        if end <= start:
            return []
        # The row before stands in front, and is left out again.
        grid = laid_out(
            self.step,
            np.zeros(end - start + 1, np.int32),
            times[start - 1 : end],
            values[start - 1 : end],
            None,
            np.r_[1, parting.advance[start:end]],
            np.r_[True, parting.parted[start:end]],
        )
        times, values, segment = grid.times[1:], grid.values[1:], grid.segment[1:]
        bounds = [*np.searchsorted(segment, np.arange(segment[0], segment[-1] + 1)).tolist(), len(segment)]
        return [
            Piece(bool(segment[first]), times[first:end], values[first:end])
            for first, end in itertools.pairwise(bounds)
        ]
