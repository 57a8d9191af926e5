"""Files with one labeled series per line: `.ts` and `.arff`."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lstm_ae_cli.options import GivenOptions
from searches import call, refused

from lstm_ae.config import Reading, Series
from lstm_ae.data import case_files
from lstm_ae.data.panel import Panel
from lstm_ae.data.table_reader import read_panel
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.studies.series.defaults import load_complete

TS_HEADER = """# A comment
@problemName Two

@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength false
@classLabel true walk run
@data
"""
TS = TS_HEADER + "1,2.5,?:4,5,6:walk\n-1e1,NaN:7,8:run\n"
ARFF = """% A comment
@RELATION 'two series'
@attribute relationalAtt relational
  @attribute att0 numeric
  @attribute "att 1" REAL
@end relationalAtt
@attribute 'kind of' {walk,'a, run'}
@data
'1,2\\n3,4',walk
"5,?\\n7,8", 'a, run'
'1,1\\n1,1',?
"""
FLAT = """@relation flat
@attribute a numeric
@attribute b integer
@attribute target {1,2}
@data
1,2,1
3,4,2
"""


def read(text: str, name: str = "t.ts", **options: Any) -> Panel:
    Path(name).write_text(text)
    return read_panel(Reading(data=name, **{"label_col": "class"} | options))


def labels(table: Panel) -> list[str | None]:
    assert table.labels is not None
    return [table.classes[label] if label >= 0 else None for label in table.labels]


def test_each_line_of_a_ts_file_is_one_series() -> None:
    table = read(TS)
    assert table.layout.values == ("dim_0", "dim_1")
    assert (table.layout.ids, table.layout.label, table.layout.time) == (("case",), "class", None)
    assert table.ids == ("1", "2")
    assert table.series.tolist() == [0, 0, 0, 1, 1]
    assert table.times.tolist() == [0, 1, 2, 0, 1]
    np.testing.assert_array_equal(table.values, [[1, 4], [2.5, 5], [np.nan, 6], [-10, 7], [np.nan, 8]])
    assert labels(table) == ["walk"] * 3 + ["run"] * 2
    # Line numbers count comments and empty lines.
    assert table.lines.tolist() == [11] * 3 + [12] * 2


def test_relational_arff_file_holds_one_dimension_per_row_of_the_relation() -> None:
    table = read(ARFF, "t.arff")
    np.testing.assert_array_equal(table.values, [[1, 3], [2, 4], [5, 7], [np.nan, 8], [1, 1], [1, 1]])
    assert labels(table) == ["walk"] * 2 + ["a, run"] * 2 + [None] * 2


def test_arff_file_with_an_attribute_for_each_step_is_univariate() -> None:
    table = read(FLAT, "t.arff")
    assert table.values[:, 0].tolist() == [1, 2, 3, 4]
    assert labels(table) == ["1", "1", "2", "2"]


def test_format_is_recognized_by_the_content_of_a_compressed_file() -> None:
    Path("t.txt.gz").write_bytes(gzip.compress(TS.encode()))
    assert read_panel(Reading(data="t.txt.gz")).ids == ("1", "2")


def test_csv_file_whose_first_column_begins_with_an_at_sign_is_still_csv() -> None:
    Path("t.csv").write_text("@timestamp,@data\n2024-01-01,1\n2024-01-02,2\n")
    assert read_panel(Reading(data="t.csv")).layout.values == ("@data",)


def test_dimensions_can_be_selected() -> None:
    table = read(TS, value_cols=("dim_1",))
    assert table.values[:, 0].tolist() == [4, 5, 6, 7, 8]


def test_marker_of_missing_values_applies() -> None:
    assert np.isnan(read(TS, missing=("7",)).values[3, 1])


def test_cases_are_read_in_chunks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(TS)
    monkeypatch.setattr(case_files, "CHUNK_CELLS", 1)
    pieces = read(TS)
    np.testing.assert_array_equal(pieces.values, whole.values)
    assert (pieces.ids, labels(pieces)) == (whole.ids, labels(whole))


def test_line_may_be_longer_than_a_line_of_csv() -> None:
    steps = 400_000
    table = read(f"@univariate true\n@classLabel false\n@data\n{','.join(['0.25'] * steps)}\n", label_col=None)
    assert table.values.shape == (steps, 1)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (TS.replace("@timeStamps false", "@timeStamps true"), ("line 4", "times")),
        (TS.replace("@missing true", "@targetLabel true"), ("line 5", "classes")),
        (TS.replace("@missing true", "@missing perhaps"), ("line 5", "@missing", "perhaps")),
        (TS.replace("@dimensions 2", "@dimensions two"), ("line 7", "@dimensions", "two")),
        (TS.replace("@dimensions 2", "@dimensions 3"), ("line 11", "2 dimensions", "3")),
        (TS.replace("@missing true", "@wrong true"), ("line 5", "@wrong")),
        (TS.replace("@problemName Two", "@author me"), ("line 2", "@author")),
        (TS.replace("@data\n", ""), ("line 10", "@data")),
        (TS_HEADER.replace("@data\n", ""), ("line 9", "@data")),
        (TS_HEADER, ("'t.ts'", "no series")),
        ("@data\n1,2:a\n", ("header", "@data")),
        (TS.replace(":run", ":jump"), ("line 12", "jump", "walk")),
        (TS.replace(":run", ""), ("line 12", "1 dimension", "2")),
        (TS.replace("7,8", "7,8,9"), ("line 12", "3 values", "dimension 1", "2")),
        (TS.replace("7,8", "7,,8").replace("NaN", "1,2"), ("line 12", "value 2")),
        (TS.replace("7,8", "7,x8"), ("line 12", "'dim_1'", "x8")),
        (TS.replace("@equalLength false", "@equalLength true\n@seriesLength 3"), ("line 13", "2 values", "3")),
        (ARFF.replace("REAL", "string"), ("line 5", "string")),
        (ARFF.replace("@end relationalAtt\n", "nonsense\n"), ("line 6", "@data")),
        (ARFF.replace("3,4", "3"), ("line 9", "1 value", "2")),
        (ARFF.replace("'1,2\\n3,4'", "1,2"), ("line 9", "series")),
        (TS_HEADER + "walk\n", ("line 11", "series")),
        (FLAT.replace("1,2,1", "{0 1, 1 2}"), ("line 6",)),
        (FLAT.replace("1,2,1", "1,2,3"), ("line 6", "'3'")),
        (FLAT.replace("@attribute b", "@attribute c {1}\n@attribute b"), ("line 4", "last")),
        (FLAT.replace("@attribute a numeric\n@attribute b integer\n", ""), ("line 2", "numbers")),
    ],
)
def test_invalid_files_are_refused_with_the_line_and_the_rule(text: str, facts: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        read(text)
    for fact in ("'t.ts'", *facts):
        assert fact in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"id_col": ("machine",)},
        {"label_col": "kind"},
        {"value_cols": ("dim_7",)},
        {"skip_rows": 1},
        {"decimal": "comma"},
        {"scale": "series"},
    ],
)
def test_options_that_do_not_apply_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')}"):
        read(TS, **options)


def cases(count: int, steps: int = 6) -> str:
    lines = [",".join(str(number + step) for step in range(steps)) + f":{'ab'[number % 2]}" for number in range(count)]
    return "@univariate true\n@classLabel true a b\n@data\n" + "\n".join(lines) + "\n"


def test_file_with_classes_is_classified_by_default_with_one_window_per_series() -> None:
    Path("TRAIN.ts").write_text(cases(20))
    Path("TEST.ts").write_text(cases(20).replace(",", ".25,"))
    config = GivenOptions({"test": "TEST.ts"}).config(Series, data="TRAIN.ts")
    assert (config.task, config.label_col, config.id_col, config.split_by) == ("classify", "class", ("case",), "series")
    found = load_complete(config)
    assert [split.samples for split in found.data[:3]] == [16, 4, 20]
    assert found.config.window == 6
    # Cases of the two files have the same numbers and are different series.
    assert found.data.source.leaky == ""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"task": "forecast"}, ("forecast", None, "series")),
        ({"task": "anomaly"}, ("anomaly", None, "series")),
        ({"task": "forecast", "split_by": "time"}, ("forecast", None, "time")),
        ({"split_by": "time"}, ("classify", "class", "time")),
    ],
)
def test_given_options_precede_those_of_the_format(given: dict[str, str], expected: tuple[str | None, ...]) -> None:
    Path("TRAIN.ts").write_text(cases(20))
    config = GivenOptions(given).config(Series, data="TRAIN.ts")
    assert (config.task, config.label_col, config.split_by) == expected
    assert config.id_col == ("case",)


def test_file_without_classes_is_a_table_of_series() -> None:
    Path("t.ts").write_text("@univariate true\n@classLabel false\n@data\n1,2\n3,4\n")
    config = GivenOptions().config(Series, data="t.ts")
    assert (config.task, config.label_col, config.id_col) == ("anomaly", None, ("case",))
    assert config.split_by == "series"
    assert read_panel(config).layout.names == ("case", "dim_0")


def test_series_are_divided_for_every_task() -> None:
    Path("t.ts").write_text(cases(20))
    for task in ("reconstruct", "forecast"):
        config = GivenOptions({"task": task, "window": 3, "horizon": 1 if task == "forecast" else None}).config(
            Series, data="t.ts"
        )
        data = load_complete(config).data
        # The first value of a case is its number, and its values increase by 1.
        rows = [set(split.windows()[:, 0, 0].tolist()) for split in data[:3]]
        assert [len(split.series) for split in data[:3]] == [14 * 6, 3 * 6, 3 * 6]
        assert all(rows)


def test_split_by_time_is_suggested_for_few_series() -> None:
    Path("t.ts").write_text(cases(2, 40))
    message = refused("series train t.ts --task reconstruct --quiet", 3)
    assert "holds no window" in message
    assert "--split-by time" in message
    assert "--split-by time" in call("series check t.ts").out


@pytest.mark.exhaustive
def test_backtest_of_a_file_tests_periods_of_time_within_its_series() -> None:
    Path("t.ts").write_text(cases(4, 60))
    said = call("series backtest t.ts --folds 2 --epochs 1 --units 2 --window 4 --horizon 1 --out b --json")
    assert said.code == 0, said.err
    assert "--split-by" in refused("series backtest t.ts --split-by series --out c", 2)


@pytest.mark.parametrize(
    "header", ["@univariate true\n", "@missing false\n", "@univariate true\n@equalLength true\n@seriesLength 3\n"]
)
def test_undeclared_class_of_a_ts_file_is_explained(header: str) -> None:
    with pytest.raises(DataError, match=r"Add @classLabel true, .* if the line ends with its class"):
        read(f"{header}@data\n1,2,3:a\n4,5,6:b\n", label_col=None)
    # A header that denies classes is not doubted.
    with pytest.raises(DataError, match=r"Correct the line$"):
        read(f"{header}@classLabel false\n@data\n1,2,3:a\n4,5,6:b\n", label_col=None)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("@univariate true\n@data\n1,2\n3,4\n", "Add @classLabel true"),
        ("@univariate true\n@classLabel false\n@data\n1,2\n3,4\n", "Pass a file with classes"),
        (
            FLAT.replace("@attribute target {1,2}\n", "@attribute c real\n"),
            "Add the class, as in @attribute class {a,b}",
        ),
    ],
)
def test_classifier_of_a_file_without_classes_is_refused_with_what_declares_them(text: str, hint: str) -> None:
    Path("t.ts").write_text(text)
    assert hint in refused("series train t.ts --task classify --quiet", 2)


def test_check_describes_the_series_and_classes() -> None:
    Path("TRAIN.ts").write_text(cases(20, 12))
    said = call("series check TRAIN.ts --json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    assert (document["series"], document["rows"], document["usable"]) == (20, 240, True)
    assert document["classes"] == {"a": 120, "b": 120}


def test_train_reports_the_line_of_an_invalid_series() -> None:
    Path("TRAIN.ts").write_text(cases(20).replace(":b", ":c", 1))
    assert "'TRAIN.ts', line 5" in refused("series train TRAIN.ts --quiet", 3)
