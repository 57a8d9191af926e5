"""Small files as they arrive, each with the table or the error that some options give."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ae.config import Reading, Snp
from lstm_ae.data import csv_reader, text, text_columns
from lstm_ae.data.grid import common_step
from lstm_ae.data.panel import Panel
from lstm_ae.data.prices import read_prices
from lstm_ae.data.table_reader import read_panel
from lstm_ae.data.time_zones import Elapsed, format_each_time
from lstm_ae.errors import LstmAeError

CORPUS = Path(__file__).parent / "corpus"


def readings(key: str) -> list[Any]:
    """Return each file with its readings that have a key."""
    found = []
    for expected in sorted(CORPUS.rglob("*.json")):
        (path,) = (file for file in expected.parent.glob(f"{expected.stem}.*") if file != expected)
        for number, reading in enumerate(json.loads(expected.read_text(encoding="utf-8")), 1):
            if key in reading:
                found.append(pytest.param(path, reading, id=f"{path.name}-{number}"))
    return found


def read(path: Path, reading: dict[str, Any]) -> Panel:
    options = {"data": str(path), **reading.get("options", {})}
    if path.parent.name == "prices":
        return read_prices(Snp.from_dict(options))
    return read_panel(Reading.from_dict(options), use="run" if "of_run" in reading else "training")


def describe(table: Panel) -> dict[str, Any]:
    """Return the facts of a table as JSON holds them, with dates in UTC and null for a missing value."""
    layout = table.layout
    if layout.time is None or isinstance(table.zone, Elapsed):
        times = format_each_time(table.times, table.zone or Elapsed(1))
    else:
        times = format_each_time(table.times, None)
    return {
        "time": layout.time,
        "times": times,
        "step": str(common_step(table)),
        "columns": list(layout.values),
        "values": np.where(np.isnan(table.values), None, np.round(table.values.astype(float), 4)).tolist(),
        "series": [table.ids[place] for place in table.series.tolist()],
        "labels": None if table.labels is None else table.labels.tolist(),
        "classes": list(table.classes),
        "unsorted": table.unsorted,
        "lines": table.lines.tolist(),
        "settings": dict(layout.settings),
        "texts": sorted(name for name, kind in layout.others.items() if kind == "text"),
        "candidates": [list(names) for names in layout.id_candidates],
    }


@pytest.mark.parametrize(("path", "reading"), readings("table"))
def test_file_is_read(path: Path, reading: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(path, reading)
    found = describe(table)
    assert {key: found[key] for key in reading["table"]} == reading["table"]
    monkeypatch.setattr(text, "BLOCK_BYTES", 7)
    monkeypatch.setattr(csv_reader, "CHUNK_ROWS", 2)
    monkeypatch.setattr(text_columns, "MIN_ARROW_ROWS", 1)
    assert describe(read(path, reading)) == found


@pytest.mark.parametrize(("path", "reading"), readings("code"))
def test_file_is_refused(path: Path, reading: dict[str, Any]) -> None:
    with pytest.raises(LstmAeError) as caught:
        read(path, reading)
    message = str(caught.value)
    assert caught.value.code.name == reading["code"]
    assert [fact for fact in reading["facts"] if fact not in message] == []
    assert [word for word in reading.get("absent", ()) if word in message] == []
    assert message.isprintable()
    assert len(message) < 700
