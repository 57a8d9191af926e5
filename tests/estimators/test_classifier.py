"""Test `SequenceClassifier`: rows, whole series, frames, runs, and the checks of scikit-learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from estimator_checks import check_parameters
from searches import done
from sklearn.model_selection import GroupKFold, cross_val_score

from lstm_ae.apply.evaluate import evaluate_table
from lstm_ae.apply.run_table import TableRequest
from lstm_ae.config import Series
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.estimators import SequenceAutoencoder, SequenceClassifier, classifier, inputs
from lstm_ae.run import open_run

SMALL: dict[str, Any] = {"units": 8, "epochs": 4, "batch_size": 16, "learning_rate": 0.02, "seeds": 1}
TINY: dict[str, Any] = {"window": 2, "units": 2, "epochs": 1, "seeds": 1, "options": {"split": "0.6,0.2,0.2"}}


def walks(series: int = 80, seed: int = 0) -> pd.DataFrame:
    """Return sine waves of two speeds, each a series of 8 to 12 rows, indexed by series and time."""
    random = np.random.default_rng(seed)
    frames = []
    for name in range(series):
        rows = int(random.integers(8, 13))
        turn = np.arange(rows) * (0.5 + 1.2 * (name % 2)) + random.uniform(0, 6)
        times = pd.date_range("2024-01-01", periods=rows, freq="s")
        index = pd.MultiIndex.from_product([[f"w{name}"], times], names=["walk", "time"])
        values = {"level": (np.sin(turn) + random.normal(0, 0.05, rows)).round(4), "speed": [10, 20][name % 2]}
        frames.append(pd.DataFrame(values, index))
    return pd.concat(frames)


WALKS = walks()
X, Y = WALKS[["level"]], WALKS["speed"]


@pytest.fixture(scope="module")
def whole() -> SequenceClassifier:
    """Return a classifier of whole series, fitted on an index of series and times."""
    return SequenceClassifier(**SMALL).fit(X, Y)


@pytest.fixture(scope="module")
def rows() -> SequenceClassifier:
    """Return a classifier of rows, fitted on an array with some labels missing."""
    level, label = stretches()
    return SequenceClassifier(window=4, **SMALL).fit(level, label)


def stretches() -> tuple[np.ndarray, np.ndarray]:
    """Return rows with alternating runs of 20 high and 20 low values, and labels, some missing."""
    up = np.arange(400) // 20 % 2 == 0
    level = np.where(up, 1.0, -1.0) + np.random.default_rng(0).normal(0, 0.2, 400)
    label = np.where(up, "up", "down").astype(object)
    label[::7] = None
    return level[:, None], label


def test_classifier_separates_whole_series(whole: SequenceClassifier) -> None:
    assert whole.window_ == 12
    assert whole.classes_.tolist() == [10, 20]
    assert whole.classes_.dtype == np.int64
    assert whole.feature_names_in_.tolist() == ["level"]
    new = walks(30, seed=1)
    said, probability = whole.predict(new[["level"]]), whole.predict_proba(new[["level"]])
    assert said.index.equals(new.index)
    assert probability.shape == (len(new), 2)
    assert said.groupby(level="walk").nunique().eq(1).all()  # a series has one class
    assert (said == new["speed"]).mean() > 0.85
    assert whole.score(new[["level"]], new["speed"]) == pytest.approx((said == new["speed"]).mean())
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-5)


def test_classifier_accepts_series_in_any_row_order(whole: SequenceClassifier) -> None:
    order = np.argsort(np.random.default_rng(0).permutation(len(X)) % 12, kind="stable")
    shuffled = X.iloc[order]
    np.testing.assert_array_equal(whole.predict(shuffled), whole.predict(X).iloc[order])


def samples(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return `(samples, 10, 2)` pairs of waves of two speeds, and the names of the speeds."""
    random = np.random.default_rng(seed)
    speed = np.arange(number) % 2
    turn = np.arange(10) * (0.5 + 1.2 * speed[:, None]) + random.uniform(0, 6, (number, 1))
    return np.stack([np.sin(turn), np.cos(turn)], axis=2), np.array(["slow", "fast"])[speed]


def test_classifier_accepts_samples_of_steps_and_channels() -> None:
    new, truth = samples(20, seed=1)
    model = SequenceClassifier(**SMALL).fit(*samples(60))
    assert (model.window_, model.n_features_in_, model.classes_.tolist()) == (10, 2, ["fast", "slow"])
    index = pd.MultiIndex.from_product([range(20), range(10)])
    with pytest.warns(UserWarning, match="X has feature names"):
        by_rows = model.predict_proba(pd.DataFrame(new.reshape(-1, 2), index, columns=["sin", "cos"]))
    np.testing.assert_array_equal(model.predict_proba(new), by_rows[::10])
    accuracy = (model.predict(new) == truth).mean()
    assert accuracy > 0.85
    assert model.score(new, truth) == accuracy
    assert model.evaluate(new, truth)["new data"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert model.predict(new[:, :8]).shape == (20,)
    with pytest.raises(ConfigError, match="Samples of 11 steps"):
        model.predict(np.zeros((2, 11, 2)))


def test_classifier_fit_equals_the_train_command(whole: SequenceClassifier) -> None:
    WALKS.to_csv("walks.csv")
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in SMALL.items())
    done(f"series train walks.csv --task classify --id-col walk --label-col speed --out run {options}")
    by_command = open_run("run").metrics()
    assert whole.metrics_["test"] == by_command["test"]
    loaded = SequenceClassifier.load("run")
    np.testing.assert_array_equal(loaded.predict(X), whole.predict(X))
    assert loaded.classes_.tolist() == [10, 20]
    assert {name: loaded.get_params()[name] for name in SMALL} == SMALL
    assert loaded.get_params()["options"] == {"max_gap": 12, "split_by": "series"}


def test_saved_classifier_works_with_the_classify_command(whole: SequenceClassifier) -> None:
    assert whole.save("mine") == Path("mine")
    X.to_csv("walks.csv")
    done("series classify mine walks.csv --out classes.csv")
    found = pd.read_csv("classes.csv").set_index("walk")["class"]
    mine = whole.predict(X).groupby(level="walk").first()
    assert found.sort_index().tolist() == mine.sort_index().tolist()
    with pytest.raises(DataError, match=r"'mine' is a run of --task classify\. Fit a new SequenceAutoencoder"):
        SequenceAutoencoder.load("mine")


def test_classifier_evaluates_like_the_command(rows: SequenceClassifier, whole: SequenceClassifier) -> None:
    level, label = stretches()
    rows.save("rows")
    pd.DataFrame({"x0": level[:, 0], "label": label}).to_csv("t.csv", index=False)
    request = TableRequest("t.csv", "label", {"time_col": None})
    expected = evaluate_table(open_run("rows"), request).as_json()
    found = rows.evaluate(level, label)
    assert found["new data"]["accuracy"] == expected["new data"]["accuracy"]
    assert found["verdict"]["new data"]["text"] == expected["verdict"]["new data"]["text"]
    assert found["new data"]["accuracy"]["value"] > 0.8
    found = whole.evaluate(X, Y)
    assert found["new data"]["accuracy"]["value"] == whole.score(X, Y) == 1
    with pytest.warns(UserWarning, match="Rows of classes that the classifier does not know are not counted: 30"):
        found = whole.evaluate(X, Y.where(Y == 10, 30))
    assert found["new data"]["accuracy"]["value"] == 1
    with (
        pytest.raises(DataError, match=r"y holds no class that the run knows \(10, 20\)"),
        pytest.warns(UserWarning, match="30"),
    ):
        whole.evaluate(X, np.full(len(X), 30))


@pytest.mark.slow
def test_window_scale_gives_uniform_probabilities_for_the_first_rows() -> None:
    """Rows before the first complete window get equal probabilities; missing values are refused."""
    level, label = stretches()
    model = SequenceClassifier(scale="window", window=6, units=2, epochs=1, seeds=1).fit(level, label)
    found = model.predict_proba(level)
    np.testing.assert_array_equal(found[:5], 0.5)
    assert np.isfinite(found).all()
    assert len(np.unique(found[5:])) > 2
    assert len(model.predict(level)) == len(level)
    with pytest.raises(ConfigError, match="needs values without gaps"):
        model.predict_proba(np.where(np.arange(len(level))[:, None] == 9, np.nan, level))


def test_classifier_predicts_a_class_for_every_row(rows: SequenceClassifier) -> None:
    level, label = stretches()
    said, probability = rows.predict(level), rows.predict_proba(level)
    assert said.shape == (400,)
    assert probability.shape == (400, 2)
    assert rows.classes_.tolist() == ["down", "up"]
    assert np.isfinite(probability).all()
    np.testing.assert_array_equal(said, rows.classes_[probability.argmax(axis=1)])
    known = label != None  # noqa: E711
    assert (said == label)[known].mean() > 0.9
    assert rows.score(level, label) == pytest.approx((said == label)[known].mean())
    # A prediction depends only on the window of 4 rows up to its row.
    np.testing.assert_allclose(rows.predict_proba(level[:50]), probability[:50], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(rows.predict_proba(level[100:120])[3:], probability[103:120], rtol=1e-4, atol=1e-6)
    assert rows.predict_proba(np.full((6, 1), np.nan)).tolist() == [[0.5, 0.5]] * 6


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("1", "2"), int),
        (("0.5", "1.0"), float),
        (("False", "True"), bool),
        (("01", "2"), str),
        (("1", "a"), str),
        (("1", "2.0"), str),
    ],
)
def test_parse_classes_infers_the_type_of_class_names(names: tuple[str, ...], kind: type) -> None:
    found = classifier._parse_classes(names).tolist()
    assert found == [(name == "True") if kind is bool else kind(name) for name in names]
    assert {type(value) for value in found} == {kind}


LEVEL, LABEL = stretches()


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"y": None}, ValueError, "requires y to be passed, but the target y is None"),
        ({"y": ["a"] * 400}, DataError, "holds only one class, a"),
        ({"y": [None] * 400}, DataError, "y contains no labels"),
        ({"y": np.linspace(0, 1, 400)}, ValueError, "Unknown label type"),
        ({"y": np.where(np.arange(400) == 7, np.inf, 1)}, DataError, "y, row 7: infinity is not a class"),
        ({"y": np.where(np.arange(400) == 7, "", "a")}, DataError, "y, row 7: an empty text is not a class"),
        ({"y": LABEL[:-1]}, ValueError, "inconsistent numbers of samples"),
        ({"y": np.arange(400) > 300}, DataError, "The training split holds windows of only one class, False"),
    ],
)
def test_classifier_fit_refuses_invalid_rows_and_labels(
    changed: dict[str, Any], kind: type[Exception], words: str
) -> None:
    given = {"y": LABEL} | changed
    with pytest.raises(kind) as caught:
        SequenceClassifier(window=4).fit(LEVEL, **given)
    assert words in str(caught.value)


def test_classifier_fit_refuses_invalid_options() -> None:
    with pytest.raises(ConfigError, match="needs an index of series and times"):
        SequenceClassifier(options={"split_by": "series"}).fit(LEVEL, LABEL)
    with pytest.raises(ConfigError, match="options has 'classes', which is a parameter or follows"):
        SequenceClassifier(options={"classes": ("a", "b")}).fit(LEVEL, LABEL)
    with pytest.raises(ConfigError, match=r'options\["code"\] is for --task anomaly or reconstruct'):
        SequenceClassifier(options={"code": 3}).fit(LEVEL, LABEL)
    with pytest.raises(ValueError, match=r"^options must be a dict"):
        SequenceClassifier(options=["code"]).fit(LEVEL, LABEL)
    with pytest.raises(ValueError, match=r"^random_state must be"):
        SequenceClassifier(random_state=-1).fit(LEVEL, LABEL)


@pytest.mark.parametrize(
    ("levels", "name", "asked"),
    [
        (["label", "time"], "level", ("label", "label_", "time")),
        (["walk", "label"], "level", ("walk", "label_", "label")),
        (["x0", "time"], 0, ("x0_", "label", "time")),
    ],
)
@pytest.mark.parametrize("single", [False, True])
def test_generated_column_names_avoid_index_and_column_names(
    levels: list[str], name: Any, asked: tuple[str, ...], single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(model: SequenceClassifier, config: Series, table: Any) -> SequenceClassifier:
        assert (*config.id_col, config.label_col, table.layout.time) == asked
        assert len({*asked, *table.layout.values}) == 4
        return model

    monkeypatch.setattr(SequenceClassifier, "_train", trained)
    frame = pd.DataFrame({name: X["level"].to_numpy()}, X.index.set_names(levels))
    SequenceClassifier(units=2, epochs=1, seeds=1).fit(frame[name] if single else frame, Y)


def test_series_of_rows_names_series_by_all_levels_but_time() -> None:
    index = pd.MultiIndex.from_product([["north", "south"], [1, 2], range(3)], names=["site", None, "time"])
    found = inputs.series_of_rows(pd.DataFrame({"a": np.zeros(12)}, index))
    assert found is not None
    assert found.columns == ("site", "series")
    assert found.names == ("north,1", "north,2", "south,1", "south,2")
    assert found.places.tolist() == np.repeat(range(4), 3).tolist()
    holed = pd.MultiIndex.from_arrays([["a", "a"], ["x", None], [1, 2]])
    with pytest.raises(DataError, match="X, row 1: the series is missing"):
        inputs.series_of_rows(pd.DataFrame({"a": np.zeros(2)}, holed))


def test_cross_validation_keeps_whole_series(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []

    def trained(model: SequenceClassifier, config: Series, table: Any) -> SequenceClassifier:
        seen.append(("fit", len(table.ids)))
        return model

    def probabilities(model: SequenceClassifier, rows: Any) -> Any:
        marked = inputs.series_of_rows(rows)
        assert marked is not None
        seen.append(("score", len(marked.names)))
        return np.zeros((len(rows), 2))

    monkeypatch.setattr(SequenceClassifier, "_train", trained)
    monkeypatch.setattr(SequenceClassifier, "predict_proba", probabilities)
    # scikit-learn takes no part of an index of Arrow texts.
    groups = X.index.get_level_values(0).to_numpy()
    cross_val_score(SequenceClassifier(), X, Y, groups=groups, cv=GroupKFold(4))
    assert seen == [("fit", 60), ("score", 20)] * 4


@pytest.mark.parametrize(("estimator", "check"), check_parameters(SequenceClassifier(**TINY, batch_size=128)))
def test_classifier_passes_scikit_learn_checks(estimator: Any, check: Any, untraced: None) -> None:
    check(estimator)
