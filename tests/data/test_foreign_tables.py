"""Tables written by other programs: titles, cp1252, German numbers, and text, in every command."""

import dataclasses
from pathlib import Path

import numpy as np
from run_tables import read_prepared

from lstm_ae.apply.run_table import read_with_run_config
from lstm_ae.config import Series
from lstm_ae.studies.series import defaults


def german(rows: int = 300) -> bytes:
    """Return an hourly report of a plant as a German spreadsheet saves it."""
    times = np.datetime64("2024-01-01T00:00") + np.arange(rows) * np.timedelta64(1, "h")
    lines = ["Messbericht Anlage Süd;;;", "", "Datum;Außentemperatur;Durchfluß;Bemerkung;Zustand"]
    for k, time in enumerate(times.tolist()):
        flow = f"{2220.12 + 500 * np.sin(k / 24 * 2 * np.pi):.2f}".replace(".", ",")
        heat = f"{10 + 5 * np.sin(k / 24 * 2 * np.pi):.1f}".replace(".", ",")
        heat = {50: "Fehler", 60: "defekt"}.get(k, heat)
        lines.append(f"{time:%d.%m.%Y %H:%M};{heat};{flow};{'geprüft' if k % 50 == 0 else ''};{'ab'[k // 20 % 2]}")
    return "\r\n".join([*lines, ""]).encode("cp1252")


def english(rows: int = 300) -> bytes:
    """Return the same rows as plain CSV in UTF-8."""
    lines = german(rows).decode("cp1252").replace(",", ".").split("\r\n", 2)[2].splitlines()
    dates = [f"{line[6:10]}-{line[3:5]}-{line[:2]}{line[10:]}" for line in lines[1:]]
    return "\n".join([lines[0], *dates, ""]).replace(";", ",").encode()


def test_run_stores_reading_options_of_its_table() -> None:
    Path("t.csv").write_bytes(german())
    settled = defaults.load_complete(
        Series(data="t.csv", skip_rows=2, encoding="cp1252", missing=("Fehler", "defekt"), epochs=1)
    )
    config = settled.config
    assert (config.skip_rows, config.encoding, config.decimal) == (2, "cp1252", "comma")
    notes = settled.data.source.notes
    (left_out,) = (note for note in notes if note.startswith("columns: "))
    assert "'Bemerkung'" in left_out
    assert "'Zustand'" in left_out
    table = read_prepared(config).table
    assert table.values[0].tolist() == [10, np.float32(2220.12)]
    # Another table may be written in another format.
    Path("e.csv").write_bytes(english())
    reading = {"skip_rows": 0, "encoding": "utf-8", "decimal": "point", "date_order": None}
    other = dataclasses.replace(read_with_run_config(config, reading), data="e.csv")
    np.testing.assert_array_equal(read_prepared(other).table.values, table.values)


def test_reading_options_override_or_extend_those_of_a_run() -> None:
    config = Series(decimal="comma", missing=("x",))
    found = read_with_run_config(config, {"decimal": "point", "missing": ("y",)})
    assert found.decimal == "point"
    assert found.missing == ("x", "y")
    assert read_with_run_config(config, {}) == config
