"""Test `lstmae series check`: its output, its findings, and that the suggested commands solve the problems."""

import gzip
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messages import message_of
from processes import imported_by
from searches import call

from lstm_ae.checks.rules import Finding
from lstm_ae.checks.table import collect_table_warnings, inspect_table
from lstm_ae.config import Reading
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import ConfigError, DataError

HEAD = "time,a\n"


def written(rows: list[str], header: str = "time,a", name: str = "t.csv") -> str:
    pathlib.Path(name).write_text("\n".join((header, *rows)) + "\n")
    return name


def hours(count: int, start: str = "2024-01-01T00:00") -> list[str]:
    times = np.datetime64(start) + np.arange(count) * np.timedelta64(1, "h")
    return [cell.replace("T", " ") for cell in np.datetime_as_string(times, "m").tolist()]


def found(*lines: str, **options: Any) -> dict[str, Finding]:
    """Write a table and return its findings by their topic."""
    name = written(list(lines[1:]), lines[0])
    return {finding.topic: finding for finding in inspect_table(Reading(data=name, **options)).findings}


def warnings_of(**options: Any) -> dict[str, str]:
    """Return the warnings before a training on the table that was written."""
    config = Reading(data="t.csv", window=5, **options)
    return collect_table_warnings(config, inspect_table(config).prepared)


def test_check_json_document_content() -> None:
    written([f"{hour},{k % 24},7" for k, hour in enumerate(hours(400)) if k not in (100, 101)], "when,flow,const")
    code, out, err = call("series check t.csv --window 10 --horizon 2 --max-gap 2 --json")
    content = json.loads(out)
    assert (code, err) == (0, "")
    assert content["usable"] is True
    assert content["time"] == {
        "column": "when",
        "first": "2024-01-01",
        "last": "2024-01-17 15:00:00",
        "frequency": "1h",
        "unsorted": 0,
        "duplicates": 0,
        "too_near": 0,
        "gaps": 1,
        "missing_steps": 2,
        "longest_gap": 2,
    }
    assert content["columns"] == [
        {"name": "flow", "minimum": 0, "mean": pytest.approx(11.37, abs=0.01), "maximum": 23, "missing": 0,
         "constant": False},
        {"name": "const", "minimum": 7, "mean": 7, "maximum": 7, "missing": 0, "constant": True},
    ]  # fmt: skip
    assert content["splits"]["training"] == {"rows": 280, "windows": 269}
    (note,) = content["problems"]
    assert (note["topic"], note["fatal"], note["fixes"]) == ("constants", False, ["--value-cols flow"])


HOURLY = [HEAD.strip(), *(f"{hour},1.{k}" for k, hour in enumerate(hours(1000)))]
# Case: header and rows, options, the topic of the problem, and the options that solve it.
PROBLEMS: dict[str, tuple[list[str], str, str, str]] = {
    "two series by name": (
        ["time,pump,a", *(f"{hour},{name},{k}" for k, hour in enumerate(hours(100)) for name in ("p 1", "p2"))],
        "", "times", "--id-col pump",
    ),
    "two series by number, one after the other": (
        ["time,a,no", *(f"{hour},{k / 7},{name}" for name in (1, 2) for k, hour in enumerate(hours(100)))],
        "", "times", "--id-col no",
    ),
    "a row twice": (
        [HEAD.strip(), *(f"{hour},1.{k}" for k, hour in enumerate([*hours(100), *hours(3)]))],
        "", "times", "--duplicates first",
    ),
    "a step that is too long": (HOURLY, "--freq 1d", "times", "--freq rows"),
    "a step off the times": (HOURLY, "--freq 45min", "times", "--freq 1h"),
    "too few rows": (HOURLY[:101], "--window 20", "windows", "--window 7"),
    "short series": (
        ["id,a", *(f"{name},1.{k}" for name in range(10) for k in range(5))],
        "--id-col id --window 5", "windows", "--split-by series",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBLEMS)
def test_check_problem_has_a_command_that_solves_it(case: str) -> None:
    lines, options, topic, fix = PROBLEMS[case]
    written(lines[1:], lines[0])
    code, out, err = call(f"series check t.csv {options}")
    assert code == 3
    assert message_of(err).startswith("'t.csv' has 1 problem, ")
    assert err.count("\n") == 1
    last = out.rstrip().rpartition("\n\n")[2]
    assert last.startswith(("Problem: ", "Note: "))  # the error is the only verdict
    assert f"  Add {fix}" in out
    (problem,) = (
        each for each in json.loads(call(f"series check t.csv {options} --json")[1])["problems"] if each["fatal"]
    )
    assert (problem["topic"], problem["fixes"][0]) == (topic, fix)
    for way in problem["fixes"]:
        kept = "" if way.split()[0] in options else options
        code, _, err = call(f"series check t.csv {kept} {way}")
        assert (code, err) == (0, ""), way


def test_id_columns_to_try_leave_no_duplicate_times() -> None:
    """A row that is repeated exactly is a duplicate, not another series."""
    rows = [f"{hour},{pump},{k % 24}.{k % 7},1450" for k, hour in enumerate(hours(1100)) for pump in ("north", "south")]
    assert found("time,pump,flow,speed", *rows)["times"].fixes == ({"id_col": ("pump",)},)
    rows = [f"{hour},north,{k % 24}.{k % 7},1450" for k, hour in enumerate(hours(1200))]
    note = found("time,pump,flow,speed", *rows, rows[-1])["times"]
    assert note.fixes == ({"duplicates": "first"},)
    assert "1 row " in note.text


@pytest.mark.parametrize(("repeated", "advised"), [("2024-10-27 02:00", True), ("2024-10-27 12:00", False)])
def test_duplicates_at_night_may_be_an_hour_that_daylight_saving_repeats(repeated: str, advised: bool) -> None:
    rows = [f"{hour},{k % 24}" for k, hour in enumerate(hours(100, start="2024-10-26T00:00"))]
    place = next(k for k, row in enumerate(rows) if row.startswith(repeated))
    note = found("time,flow", *rows[:place], rows[place], *rows[place:])["times"]
    assert ("tz_localize" in note.text) == advised


WORDED = [
    f"{hour},{'ERR' if k % 30 == 7 else 'OFF' if k == 50 else k % 7},{'ERR' if k == 3 else k % 5},{'on' * (k % 2)}"
    for k, hour in enumerate(hours(100))
]


def test_check_groups_all_non_numeric_words_in_one_problem() -> None:
    note = found("time,a,b,c", *WORDED)["cells"]
    assert note.text.startswith("'ERR' (5 cells), 'OFF' (1 cell) in 'a', 'b', the first in line 5")
    assert note.fixes[0] == {"missing": ("ERR", "OFF")}
    assert call("series check t.csv --missing ERR,OFF")[0] == 0
    # Training fails at the first such cell.
    with pytest.raises(DataError, match=r"line 9, column 'a': 'ERR' is not a number.*--missing ERR, or name"):
        read_panel(Reading(data="t.csv"))
    code, out, err = call("series check t.csv --value-cols a,b,c")
    assert code == 3
    assert "2 problems, " in err
    assert "'on' (50 cells) in 'c', the first in line 3" in out
    code, out, err = call("series check t.csv --value-cols c")
    assert (code, out) == (3, "")
    assert "line 3, column 'c': 'on' is not a number" in err


def test_check_json_reports_an_unreadable_file_as_a_problem() -> None:
    pathlib.Path("t.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    code, out, err = call("series check t.csv --json")
    assert code == 3
    assert json.loads(out)["problems"][0]["text"] == message_of(err)
    assert json.loads(out)["usable"] is False


def test_check_counts_labels_and_escapes_control_characters() -> None:
    rows = [f"{k % 9},{'' if k == 0 else int(k >= 90)},{k}" for k in range(100)]
    written(rows, '"a\n\x1b[31mred",label,b')
    code, out, _ = call("series check t.csv --label-col label --window 5")
    assert code == 0
    assert out.splitlines()[:2] == ["'t.csv': 100 rows", "'label': (no label) (1), 0 (89), 1 (10)"]
    assert "\x1b" not in out
    assert r"'a\n\x1b[31mred'" in out


RANDOM = np.random.default_rng(1)
NOISE = RANDOM.normal(20, 1, 200).round(2)


def column_of(values: Any, **options: Any) -> dict[str, Finding]:
    """Return the findings for a table with the given values and an ordinary column."""
    rows = [f"{hour},{value},{k % 7}" for k, (hour, value) in enumerate(zip(hours(len(values)), values, strict=True))]
    return found(f"time,{options.pop('name', 'a')},x", *rows, **{"window": 5} | options)


def with_(values: Any, number: float, rows: Any) -> Any:
    changed = np.array(values, float)
    changed[rows] = number
    return changed


STRETCHES = with_(np.zeros(200), 1, [*range(50, 60), *range(150, 155)])
LEFT_OUT = {"value_cols": ("x",)}
# Case: name and values of the column, the topic of the finding, and its fixes; None for no finding.
COLUMNS: dict[str, tuple[str, Any, str, tuple[Any, ...] | None]] = {
    "a number that loggers write": ("a", with_(NOISE, -9999, [3, 90]), "far values", ({"missing": ("-9999",)},)),
    "another number": ("a", with_(NOISE, 777.7, [3, 90, 91]), "far values", None),
    "two numbers": (
        "a", with_(with_(NOISE, 9999, [5, 6]), -999, [3, 90]), "far values", ({"missing": ("9999", "-999")},),
    ),
    "a number once": ("a", with_(NOISE, -999, [3]), "far values", None),
    "a number that is not far": ("a", with_(NOISE * 400, 9999, [3, 90, 91]), "far values", None),
    "a full sensor": ("a", np.minimum(NOISE * 100, 2100), "far values", None),
    "0 and 1": ("a", with_(np.zeros(200), 1, [3, 90, 91]), "far values", None),
    "labels by name": ("failure", np.arange(200) % 2, "labels", ({"label_col": "failure"}, LEFT_OUT)),
    "labels by values": ("b", STRETCHES, "labels", None),
    "an alarm of many values": ("alarm level", NOISE, "labels", None),
    "a constant": ("a", np.ones(200), "constants", (LEFT_OUT,)),
    "an identifier": ("pump_id", np.arange(200) % 4, "identifiers", ({"id_col": ("pump_id",)}, LEFT_OUT)),
    "a gas": ("NO", np.arange(200) % 4, "identifiers", None),
}  # fmt: skip


@pytest.mark.parametrize("case", COLUMNS)
def test_check_and_training_warn_of_a_column(case: str) -> None:
    name, values, topic, fixes = COLUMNS[case]
    note = column_of(values, name=name, window=5).get(topic)
    assert (note and note.fixes) == fixes
    assert warnings_of().get(topic) == (note and note.text)


def test_check_reports_long_gaps_and_irregular_steps() -> None:
    kept = [hour for k, hour in enumerate(hours(300)) if k % 60 >= 10]
    note = found(HEAD.strip(), *(f"{hour},{k % 24}" for k, hour in enumerate(kept)), window=20, max_gap=2)[
        "missing rows"
    ]
    assert "4 gaps" in note.text
    assert note.fixes == ({"max_gap": 10},)
    rows = [f"{hour},{'' if 100 <= k < 110 or k == 9 else 1.5}" for k, hour in enumerate(hours(300)) if k != 111]
    found(HEAD.strip(), *rows, window=20)
    assert inspect_table(Reading(data="t.csv", window=20)).gaps == (3, 12, 10, 1)
    assert inspect_table(Reading(data="t.csv", window=20, freq="rows")).gaps == (2, 11, 10, 1)
    shifts = [hour for hour in hours(600) if hour[-5:] in ("08:00", "17:00")]
    (note,) = found(HEAD.strip(), *(f"{hour},{k * k % 23}" for k, hour in enumerate(shifts))).values()
    assert note.fixes == ({"freq": "rows"},)


NUMBERS = ["1", "2", "2.5", "-3e4", "1e999", "1e39", "1,5", "1.234,5", '"1,000"', "inf", "7", "99999999999999999999"]
TIMES = ["2024-01-01", "2024-01-01 00:00", "2024-01-02T05:00+02:00", "1/2/2024", "13.2.2024 1:00 PM", "2023-02-29"]
CLOCKS = ["17:24:00", "5:24 PM"]
STAMPS = ["1704067200", "1704067260", "1704067200000", "20240101", "2262-01-01", "2024010100", "1013.25"]
CELLS = st.sampled_from([*NUMBERS, *TIMES, *CLOCKS, *STAMPS, "", "NA", "x", "true", "\u0661", "=a", '"', "\0"])
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "time_col": st.sampled_from(["a", "time"]),
        "id_col": st.sampled_from([("time",), ("c",), ("time", "c")]),
        "label_col": st.just("c"),
        "freq": st.sampled_from(["1s", "1d", "1mo", "rows", "1ns"]),
        "time_zone": st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe"]),
        "duplicates": st.sampled_from(["first", "last", "mean"]),
        "window": st.sampled_from([2, 5]),
        "max_gap": st.sampled_from([0, 1_000_000]),
        "normal": st.sampled_from([("..2024-01-02",), ("0..5",)]),
        "split_by": st.just("series"),
    },
)


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=4),
    st.integers(1, 12),
    st.sampled_from(",;\t"),
    CHOICES,
)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_findings_and_errors_are_one_line_for_any_table(
    empty_directory: pathlib.Path, rows: list[tuple[str, ...]], times: int, mark: str, choices: dict[str, Any]
) -> None:
    text = "\n".join(mark.join(row) for row in [("a", "time", "c"), *rows * times])
    path = empty_directory / "t.csv"
    path.write_text(text)
    try:
        content = inspect_table(Reading(data=str(path), **choices))
    except (DataError, ConfigError) as error:
        said, problem = [str(error)], True
    else:
        said, problem = [finding.text for finding in content.findings], not content.usable
    assert all(text.isprintable() and len(text) < 900 for text in said)
    assert problem or all(content.windows)


def test_check_imports_no_tensorflow_or_pandas() -> None:
    times = hours(20_000)
    pathlib.Path("t.csv.gz").write_bytes(
        gzip.compress((HEAD + "".join(f"{hour},{k % 24}\n" for k, hour in enumerate(times))).encode())
    )
    modules, _ = imported_by(["series check t.csv.gz"])
    assert not modules & {"tensorflow", "keras", "keras_tuner", "pandas", "scipy", "sklearn", "matplotlib"}
