"""Covariates of forecasts: the roles of columns, rows that hold only a plan, and what they count for."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lstm_ae.config import Series
from lstm_ae.data.columns import Covariates
from lstm_ae.data.preparation import PreparedTable, prepare_table, read_known_future
from lstm_ae.data.table_reader import read_panel
from lstm_ae.data.windows import Data
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.studies.series import defaults

NAN = np.nan
ROWS, PLANNED = 60, 4
COVARIATES: dict[str, Any] = {"past_cols": ("rain",), "known_future": ("plan",)}


def table(shops: tuple[str, ...] = ("north",)) -> pd.DataFrame:
    """Return hourly rows of each shop; the last ones hold only a plan."""
    frames = []
    for number, shop in enumerate(shops):
        random = np.random.default_rng(number)
        rows = pd.DataFrame(
            {
                "shop": shop,
                "plan": np.arange(ROWS + PLANNED) % 5.0,
                "sales": random.normal(size=ROWS + PLANNED),
                "rain": random.normal(size=ROWS + PLANNED),
            },
            pd.date_range("2024-03-30 20:00", periods=ROWS + PLANNED, freq="h", name="time"),
        )
        rows.iloc[ROWS:, 2:] = NAN
        frames.append(rows)
    return pd.concat(frames)


def config_of(frame: pd.DataFrame, **options: Any) -> Series:
    frame.to_csv("t.csv")
    return Series(**{"data": "t.csv", "task": "forecast", "window": 6, "horizon": 2, **COVARIATES, **options})


def prepared(frame: pd.DataFrame, **options: Any) -> PreparedTable:
    config = config_of(frame, **options)
    return prepare_table(config, read_panel(config))


def load(frame: pd.DataFrame, **options: Any) -> Data:
    return defaults.load_complete(config_of(frame, **options)).data


def test_covariates_are_the_last_columns() -> None:
    layout = read_panel(config_of(table())).layout
    assert layout.values == ("sales", "rain", "plan")
    assert (layout.targets, layout.past, layout.known, layout.observed) == (("sales",), ("rain",), ("plan",), 2)
    data = load(table(), calendar=("hour",))
    assert data.feature_names == ("sales", "rain", "plan", "hour sine", "hour cosine")
    assert (data.covariates, data.targets, data.seasons) == (Covariates(1, 3), 1, (None,))
    # A completed config reads the same columns again.
    completed = defaults.load_complete(config_of(table())).config
    assert (completed.value_cols, completed.past_cols, completed.known_future) == (("sales",), ("rain",), ("plan",))


def test_calendar_features_are_not_scaled() -> None:
    for scale in ("standard", "minmax", "series"):
        data = load(table(("north", "south")), calendar=("hour",), scale=scale, id_col=("shop",))
        assert (data.scale.offset[:, 3:] == 0).all()
        assert (data.scale.range[:, 3:] == 1).all()
        assert data.scale.range[0, 2] != 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"known_future": ("sales",), "value_cols": ("sales",)}, "--value-cols and --known-future both name 'sales'"),
        ({"past_cols": ("plan",)}, "--past-cols and --known-future both name 'plan'"),
        ({"static_cols": ("size",)}, "--static-cols needs --id-col"),
        ({"static_cols": ("plan",), "id_col": ("shop",)}, "--known-future and --static-cols both name 'plan'"),
        ({"known_future": ("plan", "plan")}, "--known-future names 'plan' more than once"),
        ({"scale": "window"}, "--scale window .* Use another --scale with --known-future"),
        ({"task": "anomaly", "horizon": None}, "--past-cols is for --task forecast"),
        (
            dict.fromkeys(COVARIATES, ()) | {"task": "anomaly", "horizon": None, "calendar": ("hour",)},
            "Remove --calendar",
        ),
        ({"calendar": ("day",)}, r"--calendar must list hour, weekday, month.* Received: 'day'"),
    ],
)
def test_conflicting_options_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Series(**{"task": "forecast", "horizon": 2, **COVARIATES, **options})


def test_unknown_and_empty_columns_are_refused_by_the_option_that_names_them() -> None:
    with pytest.raises(ConfigError, match=r"--known-future names 'plam', which is not a column .* Did you mean 'plan'"):
        read_panel(config_of(table(), known_future=("plam",)))
    with pytest.raises(DataError, match=r"no row holds a value of rain"):
        read_panel(config_of(table().assign(rain=NAN)))
    late = table()
    late.iloc[: ROWS - 10, 1] = NAN
    with pytest.raises(DataError, match=r"'plan' has no value in the training split. Leave it out with --known-future"):
        load(late)


def test_rows_with_a_plan_only_are_no_rows_to_train_on() -> None:
    """They neither shift the split nor count as missing rows, and the data is the same without them."""
    found, whole = load(table()), load(table().iloc[:ROWS])
    assert found.source.sha256 == whole.source.sha256
    for ours, theirs in zip(found[:3], whole[:3], strict=True):
        np.testing.assert_array_equal(ours.windows(), theirs.windows())
    cut = prepared(table())
    assert len(cut.table.lines) == len(cut.grid.lines) == ROWS
    assert cut.plan is not None
    assert len(cut.plan.lines) == PLANNED
    assert prepared(table().iloc[:ROWS]).plan is None


def test_known_values_do_not_bridge_a_gap() -> None:
    """A long gap of the observed columns divides the rows although the plan has no gap."""
    frame = table()
    frame.iloc[20:30, 2:] = NAN
    grid = prepared(frame, max_gap=2).grid
    assert len(np.unique(grid.segment[grid.valued])) == 2
    assert not grid.is_observed[20:30].any()
    starts = load(frame, max_gap=2, window=3, split="0.8,0.1,0.1").train.starts
    assert not ((starts > 15) & (starts < 30)).any()


@pytest.mark.parametrize(("known", "warned"), [(("plan", "failure"), False), ((), True)])
def test_covariate_is_no_label(known: tuple[str, ...], warned: bool) -> None:
    frame = table().assign(failure=lambda rows: (np.arange(len(rows)) % 40 < 3).astype(float))
    found = defaults.load_complete(config_of(frame, past_cols=(), known_future=known)).data.source.notes
    assert ("labels" in [note.partition(":")[0] for note in found]) == warned


def test_column_that_is_known_in_advance_is_no_leak() -> None:
    frame = table().assign(plan=lambda rows: rows["sales"].shift(-1).fillna(0))
    assert load(frame, window=3).source.leaky == ""
    frame = table().assign(rain=lambda rows: rows["sales"].diff().shift(-1).fillna(0))
    assert load(frame, window=3, split="0.6,0.2,0.2").source.leaky


def known(frame: pd.DataFrame, steps: int, *, duplicates: str = "error", **options: Any) -> Any:
    cut = prepared(frame, **options)
    last = np.flatnonzero(np.r_[cut.grid.series[1:] != cut.grid.series[:-1], True])
    return read_known_future(cut, ("plan",), last, steps, duplicates)


@pytest.mark.parametrize("freq", [None, "rows"])
def test_known_future_follows_the_last_observed_row(freq: str | None) -> None:
    found = known(table(), 6, freq=freq)
    assert found.present.tolist() == [[True] * 4 + [False] * 2]
    np.testing.assert_array_equal(found.values[0, :, 0], [0, 1, 2, 3, NAN, NAN])


def test_known_future_has_the_steps_of_its_times() -> None:
    """Also where rows are missing, times jitter, steps are months, and the table has no times."""
    frame = table().drop(table().index[ROWS + 1])
    assert known(frame, 4).present.tolist() == [[True, False, True, True]]
    jitter, months = table(), table()
    jitter.index = jitter.index + pd.to_timedelta(np.r_[np.zeros(ROWS), [9, -9, 9, 0]], unit="min")
    months.index = pd.date_range("2015-01-31", periods=len(months), freq="ME", name="time")
    counted = table().reset_index(drop=True).rename_axis("n")
    for rows, options in ((jitter, {"freq": "1h"}), (months, {}), (counted, {"value_cols": ("sales",)})):
        assert known(rows, 4, **options).values.ravel().tolist() == [0, 1, 2, 3]


def test_known_future_belongs_to_its_series() -> None:
    frame = table(("north", "south"))
    frame.loc[frame["shop"] == "south", "plan"] += 10
    found = known(frame.iloc[:-1], 4, id_col=("shop",))
    np.testing.assert_array_equal(found.values[..., 0], [[0, 1, 2, 3], [10, 11, 12, NAN]])


def test_two_rows_of_one_step_are_merged_as_requested() -> None:
    frame = table()
    frame = pd.concat([frame, frame.iloc[-1:].assign(plan=7.0)])
    with pytest.raises(DataError, match="line 65 and line 66 are both at"):
        known(frame, 4)
    assert known(frame, 4, duplicates="last").values[0, 3] == 7
    assert known(frame, 4, duplicates="mean").values[0, 3] == 5


SIZES = {"north": 2.0, "south": 30.0}
STATIC: dict[str, Any] = {"known_future": ("plan",), "static_cols": ("size",), "id_col": ("shop",)}


def with_sizes() -> pd.DataFrame:
    """Return rows of two shops, of which only every third one holds the size of the shop; one row is missing."""
    frame = table(("north", "south"))
    frame["size"] = frame["shop"].map(SIZES).where(np.arange(len(frame)) % 3 == 0)
    return frame.iloc[np.r_[:20, 21 : len(frame)]]


def test_static_columns_hold_the_value_of_the_series_in_each_row() -> None:
    cut = prepared(with_sizes(), calendar=("hour",), **STATIC)
    layout = cut.grid.layout
    assert layout.values[:4] == ("sales", "rain", "plan", "size")
    assert layout.known == ("plan", "size", "hour sine", "hour cosine")
    np.testing.assert_array_equal(
        cut.grid.values[:, 3], [SIZES[cut.table.ids[series]] for series in cut.grid.series.tolist()]
    )
    assert (cut.grid.lines == -1).sum() == 1


@pytest.mark.parametrize("scale", ["standard", "series", "none"])
def test_static_columns_are_scaled_over_all_series(scale: str) -> None:
    data = load(with_sizes(), scale=scale, **STATIC)
    place = data.feature_names.index("size")
    values = data.train.series[:, place]
    assert set(values) == set(SIZES.values())
    if scale == "none":
        assert set(data.scale.of(data.train.windows(slice(1)))[1].ravel()) == {1}
        return
    scaled = (values - data.scale.offset[0, place]) / data.scale.range[0, place]
    assert (scaled.mean(), scaled.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, rel=1e-4))
    assert np.ptp(data.scale.offset[:, place]) == np.ptp(data.scale.range[:, place]) == 0


def test_static_column_with_several_values_or_none_is_refused() -> None:
    frame = with_sizes()
    frame["size"] = 16777210.0
    frame.iloc[30, 4] = 16777211.0
    with pytest.raises(DataError, match=r"series 'north': 'size' is 16777210 and 16777211"):
        load(frame, **STATIC)
    frame = with_sizes()
    frame.iloc[30, 4] = 7.0
    with pytest.raises(DataError, match=r"'size' is 2 and 7, .* one value per series"):
        load(frame, **STATIC)
    frame = with_sizes()
    frame.loc[frame["shop"] == "south", "size"] = NAN
    with pytest.raises(DataError, match=r"series 'south': 'size' has no value"):
        load(frame, **STATIC)
