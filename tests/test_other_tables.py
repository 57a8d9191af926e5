"""Tables that come after the one a run was trained on: read as that one was, and what differs is told."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ae.config import Series
from lstm_ae.data.arriving import read_arriving
from lstm_ae.data.measurements import Measurements
from lstm_ae.errors import DataError
from lstm_ae.tasks.series import settling


def written(header: str, rows: list[str], name: str = "t.csv") -> str:
    Path(name).write_text("\n".join((header, *rows)) + "\n")
    return name


def minutes(count: int, every: int = 5, start: str = "2024-03-05T10:00") -> list[str]:
    times = np.datetime64(start) + np.arange(count) * np.timedelta64(every, "m")
    return [str(time).replace("T", " ") for time in times]


def settled(header: str, rows: list[str], **options: Any) -> Series:
    """The config of a run that is trained on these rows."""
    return settling.settle(Series(data=written(header, rows), window=4, **options)).config


def other(config: Series, header: str, rows: list[str]) -> Measurements:
    return settling.table_of(dataclasses.replace(config, data=written(header, rows, "other.csv"))).table


def pieces_of(*texts: str) -> Any:
    """A reader of a text that comes in these pieces."""
    pieces = iter([text.encode() for text in texts])
    return lambda size: next(pieces, b"")


def test_a_column_that_is_empty_now_is_missing_in_all_rows() -> None:
    config = settled("time,a,b", [f"{time},{k % 7},{k % 5}" for k, time in enumerate(minutes(100))])
    table = other(config, "time,a,b", [f"{time},{k % 7}," for k, time in enumerate(minutes(50))])
    assert table.layout.values == ("a", "b")
    assert np.isnan(table.values).all(axis=0).tolist() == [False, True]
    with pytest.raises(DataError, match=r"the column 'b' holds no value in any row. Leave it out of --value-cols"):
        settling.settle(dataclasses.replace(config, data="other.csv"))
    with pytest.raises(DataError, match=r"no row holds a value of a, b. Give a table with values"):
        other(config, "time,a,b", [f"{time},," for time in minutes(50)])


def test_dates_and_decimals_are_written_as_in_the_first_table() -> None:
    """Days up to 12 and numbers without decimals do not tell, and need not: the run knows."""
    hours = np.datetime64("2024-03-10T00") + np.arange(120)
    cells = [f"{str(h)[8:10]}/{str(h)[5:7]}/{str(h)[:4]} {str(h)[11:13]}:00" for h in hours]
    config = settled("time;a", [f"{cell};{k % 7},5" for k, cell in enumerate(cells)])
    assert (config.date_order, config.decimal) == ("dmy", "comma")
    later = [f"0{4 + k // 24}/05/2024 {k % 24:02}:00;{k % 7}{',25' if k > 30 else ''}" for k in range(72)]
    table = other(config, "time;a", later)
    assert str(table.times[-1].view("datetime64[ns]"))[:13] == "2024-05-06T23"
    assert table.values[[30, 31], 0].tolist() == [2, 3.25]
    _, chunks = read_arriving(pieces_of("time;a\n", *(f"{row}\n" for row in later[29:32])), "standard input", config)
    assert [chunk.values.tolist() for chunk in chunks] == [[[1]], [[2]], [[3.25]]]
    plain = settled("time,a", [f"{time},{k % 7}.5" for k, time in enumerate(minutes(100))])
    assert (plain.date_order, plain.decimal) == (None, None)
    told = settled("time,a", [f"{time},{k % 7}.5" for k, time in enumerate(minutes(100))], date_order="mdy")
    assert told.date_order == "mdy"
