"""Parts of a table have the codes, reconstructions, classes, and forecasts of the whole table."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from part_runs import autoencoder_of, classifier_of, forecaster_of
from partitioned import compute_parts, pa, parquet, tables, write_steps
from sampling import sampled

from lstm_ae.apply.classify import classify_table, row_probabilities
from lstm_ae.apply.encode import encode_table, reconstruct_table
from lstm_ae.apply.forecast import forecast_columns, forecast_table
from lstm_ae.apply.part_tasks import PartClassifier, PartEncoder, PartForecaster, PartReconstructor
from lstm_ae.apply.partition import PartTask
from lstm_ae.apply.run_table import TableRequest, grid_run_table, read_run_table
from lstm_ae.data import sliding
from lstm_ae.data.frames import map_to_table_rows
from lstm_ae.errors import DataError

PROPERTY = settings(max_examples=12, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


def columns_of(task: PartTask, path: str, cuts: Sequence[int]) -> dict[str, Any]:
    """Return the results of all parts, joined."""
    found = [part for part in compute_parts(task, path, cuts) if part.rows]
    names = found[0].columns if found else ()
    return {name: np.concatenate([np.asarray(part.columns[name]) for part in found]) for name in names}


def require_equal(task: PartTask, path: str, cuts: Sequence[int]) -> dict[str, Any]:
    """Return the results of the whole table, after a comparison with those of its parts bit by bit."""
    # Small batches, so that parts have several.
    with mock.patch.object(sliding, "MAX_BATCH", 4):
        whole, divided = columns_of(task, path, ()), columns_of(task, path, cuts)
    assert list(whole) == list(divided)
    for name in whole:
        assert whole[name].tolist() == divided[name].tolist() or whole[name].tobytes() == divided[name].tobytes()
    return whole


@pytest.mark.parametrize("short", sampled(("drop", "pad"), slow=("pad",)))
@PROPERTY
@given(table=tables())
def test_codes_and_reconstructions_of_parts_equal_the_whole(table: Any, short: str) -> None:
    steps, values, cuts = table
    path = write_steps("table.parquet", steps, values)
    autoencoder = autoencoder_of(short=short)
    codes = require_equal(PartEncoder(autoencoder), path, cuts)
    rows = require_equal(PartReconstructor(autoencoder), path, cuts)
    try:
        prepared = autoencoder.read(TableRequest(path))
    except DataError:  # There is no window.
        assert all(np.isnan(column).all() for column in (*codes.values(), *rows.values()))
        return
    # The second number and the reconstructions depend on the batch here.
    expected = map_to_table_rows(prepared, encode_table(autoencoder, prepared))
    np.testing.assert_array_equal(codes["code0"], expected[:, 0])
    again = map_to_table_rows(prepared, reconstruct_table(autoencoder, prepared))
    np.testing.assert_array_equal(np.isnan(rows["value 0"]), np.isnan(again[:, 0]))


@pytest.mark.exhaustive
@PROPERTY
@given(table=tables())
def test_classes_of_parts_equal_the_whole(table: Any) -> None:
    steps, values, cuts = table
    path = write_steps("table.parquet", steps, values)
    classifier = classifier_of()
    found = require_equal(PartClassifier(classifier), path, cuts)
    try:
        classified = classify_table(classifier, read_run_table(classifier.config, TableRequest(path)))
    except DataError:
        assert np.isnan(found["probability"]).all()
        return
    np.testing.assert_array_equal(np.isnan(found["probability calm"]), np.isnan(row_probabilities(classified)[:, 0]))


@pytest.mark.exhaustive
@PROPERTY
@given(table=tables(), machines=st.lists(st.sampled_from("abc"), min_size=60, max_size=60))
def test_classes_of_series_in_parts_equal_the_whole(table: Any, machines: list[str]) -> None:
    steps, values, cuts = table
    path = write_steps("table.parquet", steps, values, machines[: len(steps)])
    options = {"id_col": ("machine",), "split_by": "series"}
    require_equal(PartClassifier(classifier_of(**options)), path, cuts)


@pytest.mark.slow
@PROPERTY
@given(table=tables(), machines=st.lists(st.sampled_from("abc"), min_size=60, max_size=60))
def test_forecasts_of_parts_equal_the_whole(table: Any, machines: list[str]) -> None:
    steps, values, cuts = table
    path = write_steps("table.parquet", steps, values, machines[: len(steps)])
    forecaster = forecaster_of(id_col=("machine",))
    task = PartForecaster(forecaster, horizon=3, levels=(80,))
    whole, divided = (columns_of(task, path, each) for each in ((), cuts))
    # Series are in the order of the parts that they end in. The shortest text of a number is exact.
    assert sorted(map(str, zip(*divided.values(), strict=True))) == sorted(map(str, zip(*whole.values(), strict=True)))
    prepared = grid_run_table(forecaster.config, read_run_table(forecaster.config, TableRequest(path)))
    try:
        expected = forecast_columns(forecast_table(forecaster, prepared, horizon=3, levels=(80,)))
    except DataError:
        assert not whole
        return
    assert list(whole) == list(expected)
    for name in whole:
        assert list(map(str, whole[name])) == list(map(str, expected[name]))


def test_widths_of_intervals_do_not_depend_on_the_parts() -> None:
    values = np.random.default_rng(0).normal(0, 5, 60)
    path = write_steps("table.parquet", [1] * 60, values)
    forecaster = forecaster_of()
    prepared = grid_run_table(forecaster.config, read_run_table(forecaster.config, TableRequest(path)))
    # Few, so that rows before them must not matter.
    with mock.patch("lstm_ae.apply.forecast.RECENT_FORECASTS", 20):
        for known_until in (None, 0, int(prepared.grid.times[45])):
            known = dataclasses.replace(forecaster, known_until=known_until)
            task = PartForecaster(known, horizon=2, levels=(80,))
            expected = forecast_columns(forecast_table(known, prepared, horizon=2, levels=(80,)))["value 0 low_80"]
            for cuts in ((), (30,), (37, 50), (20, 40, 56, 58, 59)):
                assert list(columns_of(task, path, cuts)["value 0 low_80"]) == list(expected)
            if known_until is None:
                constant = expected
            else:
                assert list(expected) != list(constant)


def test_forecast_reads_a_plan_in_other_parts() -> None:
    """The last value is two parts before the end of the file, and the parts between hold a part of the plan each."""
    path = write_steps("values.parquet", [1] * 12, [0.5, 0.1, 0.3, 0.2, 0.4, 0.1, 0.7, *[np.nan] * 5])
    table = parquet.read_table(path).append_column("plan", pa.array(np.arange(12.0)))
    parquet.write_table(table, "table.parquet")
    forecaster = forecaster_of(known_future=("plan",), value_cols=("value 0",))
    task = PartForecaster(forecaster, horizon=4)
    whole = require_equal(task, "table.parquet", (3, 8, 10))
    prepared = grid_run_table(forecaster.config, read_run_table(forecaster.config, TableRequest("table.parquet")))
    expected = forecast_columns(forecast_table(forecaster, prepared, horizon=4))
    assert list(whole["value 0"]) == list(expected["value 0"])
    assert [part.rows for part in compute_parts(task, "table.parquet", (3, 8, 10))] == [0, 0, 0, 4]


def write_sizes(sizes: Sequence[float]) -> None:
    """Write two series of twelve rows each, one after the other, with a static column."""
    path = write_steps("values.parquet", [1] * 24, np.arange(24) % 7 / 10, ["north"] * 12 + ["south"] * 12)
    table = parquet.read_table(path).append_column("size", pa.array(sizes, pa.float64(), from_pandas=True))
    parquet.write_table(table, "table.parquet")


@pytest.mark.parametrize("rows", [range(24), [0, 12], [11, 23]], ids=["all rows", "first rows", "last rows"])
def test_forecast_with_static_columns_does_not_depend_on_the_parts(rows: Sequence[int]) -> None:
    sizes = np.full(24, np.nan)
    sizes[rows] = np.where(np.arange(24) < 12, 2.0, 30.0)[rows]
    write_sizes(sizes)
    forecaster = forecaster_of(static_cols=("size",), value_cols=("value 0",), id_col=("machine",))
    task = PartForecaster(forecaster, horizon=2)
    prepared = grid_run_table(forecaster.config, read_run_table(forecaster.config, TableRequest("table.parquet")))
    expected = forecast_columns(forecast_table(forecaster, prepared, horizon=2))
    for cuts in ((), (6, 15), (4, 20), (12,), (18,)):
        whole = require_equal(task, "table.parquet", cuts)
        assert list(whole["value 0"]) == list(expected["value 0"])


def test_series_without_a_static_value_is_refused_in_parts() -> None:
    write_sizes([2.0] * 12 + [np.nan] * 12)
    task = PartForecaster(forecaster_of(static_cols=("size",), value_cols=("value 0",), id_col=("machine",)), horizon=2)
    with pytest.raises(DataError, match="series 'south': 'size' has no value"):
        compute_parts(task, "table.parquet", (6, 20))


def test_parts_without_times_are_in_the_order_of_the_file() -> None:
    path = write_steps("table.parquet", [1] * 30, np.arange(30) % 7 / 10)
    options = {"time_col": None, "freq": "rows"}
    table = parquet.read_table(path).drop_columns("time")
    parquet.write_table(table, "table.parquet")
    codes = require_equal(PartEncoder(autoencoder_of(**options)), "table.parquet", (4, 11))
    assert np.isnan(codes["code0"]).tolist() == [True] * 2 + [False] * 28
    require_equal(PartClassifier(classifier_of(**options)), "table.parquet", (4, 11))
    ahead = require_equal(PartForecaster(forecaster_of(**options)), "table.parquet", (4, 11))
    assert list(ahead["step"]) == [1, 2]


def test_parts_of_a_counter_that_restarts_are_refused() -> None:
    """The counter gives no order of parts, and the whole table is read in the order of the file."""
    counter = np.tile(np.arange(15), 2)
    parquet.write_table(pa.table({"time": counter, "value 0": np.arange(30) % 7 / 10}), "table.parquet")
    task = PartEncoder(autoencoder_of(freq="rows", time_unit="steps"))
    with pytest.raises(DataError, match=r"'time' restarts, so that it gives no order of parts. Add a column"):
        require_equal(task, "table.parquet", (4, 11))


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda **columns: PartEncoder(autoencoder_of(**columns)),
        lambda **columns: PartReconstructor(autoencoder_of(**columns)),
        lambda **columns: PartClassifier(classifier_of(**columns)),
        lambda **columns: PartForecaster(forecaster_of(**columns), 4, (50, 80)),
    ],
    ids=["codes", "reconstructions", "classes", "forecasts"],
)
def test_columns_without_rows_have_the_names_and_types_of_those_with_rows(
    make: Callable[..., PartTask], timed: bool
) -> None:
    path = write_steps("t.parquet", [1] * 9, np.arange(9), ["a"] * 9)
    task = make(id_col=("machine",), **({} if timed else {"time_col": None, "freq": "rows"}))
    (result,) = compute_parts(task, path, ())
    (expected, found) = (pd.DataFrame(columns) for columns in (result.columns, task.empty_columns()))
    assert len(expected) > len(found) == 0
    assert found.dtypes.to_dict() == expected.dtypes.to_dict()
    assert list(found) == list(expected)
