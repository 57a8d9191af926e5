"""Test the estimators: frames, codes, anomalies, runs, and the checks of scikit-learn."""

import contextlib
import copy
import doctest
import importlib
import inspect
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from detectors import detect_file
from estimator_checks import check_parameters
from sampling import sampled
from searches import call
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lstm_ae.apply.evaluate import evaluate_table
from lstm_ae.apply.run_table import TableRequest
from lstm_ae.config import Series
from lstm_ae.data.frames import describe_text_times
from lstm_ae.errors import ConfigError, DataError, DivergedError
from lstm_ae.estimators import AnomalyDetector, SequenceAutoencoder, SequenceClassifier, SequenceForecaster, base
from lstm_ae.run import open_run
from lstm_ae.training.checkpoint import Checkpointer

DAY, BROKEN = 24, slice(24 * 10, 24 * 11)
SMALL: dict[str, Any] = {"code": 4, "units": 6, "epochs": 5, "batch_size": 32, "learning_rate": 0.02}
TINY: dict[str, Any] = {
    "window": 2,
    "code": 2,
    "units": 2,
    "epochs": 1,
    "batch_size": 128,
    "options": {"split": "0.6,0.2,0.2"},
}


def test_detector_fit_refuses_several_series() -> None:
    index = pd.MultiIndex.from_product([["a", "b"], pd.date_range("2024-01-01", periods=50, freq="h")])
    with pytest.raises(DataError, match="X has several series"):
        AnomalyDetector(epochs=1).fit(pd.DataFrame({"v": np.arange(100.0)}, index))


def pump(*, broken: bool) -> pd.DataFrame:
    """Return 20 days of hourly values with a daily season; if broken, the flow is constant on day 11."""
    noise = np.random.default_rng(int(broken)).normal(size=(20 * DAY, 2))
    turn = 2 * np.pi * np.arange(20 * DAY) / DAY
    frame = pd.DataFrame(
        {"flow": 50 + 10 * np.sin(turn) + 0.5 * noise[:, 0], "heat": 20 + 3 * np.cos(turn) + 0.2 * noise[:, 1]},
        pd.date_range("2024-01-01", periods=len(turn), freq="h", name="time"),
    ).round(3)
    if broken:
        frame.iloc[BROKEN, 0] = 41
    return frame


GOOD, BAD = pump(broken=False), pump(broken=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tables and a run of the train command."""
    folder = tmp_path_factory.mktemp("estimators")
    with contextlib.chdir(folder):
        for name, frame in (("good", GOOD), ("bad", BAD)):
            frame.to_csv(f"{name}.csv")
        options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in SMALL.items())
        said = call(f"series train {folder}/good.csv --out run {options}")
    assert said.code == 0, said.err
    return folder


@pytest.fixture(scope="module")
def fitted() -> AnomalyDetector:
    return AnomalyDetector(**SMALL).fit(GOOD)


@pytest.fixture(scope="module")
def coder() -> SequenceAutoencoder:
    """Return an autoencoder fitted on an array without names or times."""
    return SequenceAutoencoder(window=8, code=3, units=4, epochs=1, scale="minmax").fit(GOOD.to_numpy())


LEVEL = pd.Series(np.arange(40) % 5, name="level", dtype=float)


@pytest.mark.slow
def test_training_preserves_the_global_random_states() -> None:
    random.seed(1)
    np.random.seed(1)
    SequenceAutoencoder(scale="window", **TINY).fit(LEVEL)
    assert (random.random(), np.random.rand()) == (random.Random(1).random(), np.random.RandomState(1).rand())


@pytest.mark.slow
def test_detector_loads_a_run_of_the_train_command(place: Path, fitted: AnomalyDetector) -> None:
    loaded = AnomalyDetector.load(place / "run")
    found = detect_file(open_run(place / "run"), TableRequest(str(place / "bad.csv")))
    # A command computes few windows without the kernels.
    np.testing.assert_allclose(-loaded.score_samples(BAD), found.rows.scores, rtol=1e-5)
    np.testing.assert_allclose(-loaded.score_samples(BAD, final=True), found.final, rtol=1e-5)
    assert loaded.window == loaded.window_ == DAY
    assert {name: loaded.get_params()[name] for name in SMALL} == SMALL
    assert loaded.get_params()["options"] == {"max_gap": 2}
    # Values that the rows determine are left open, so that a refit on the same rows gives the same model.
    assert clone(loaded)._config().to_dict() == open_run(place / "run").config().to_dict() | {
        "data": None,
        "freq": None,
        "time_col": None,
        "value_cols": [],
    }


@pytest.mark.slow
def test_evaluations_equal_those_of_the_command(place: Path, fitted: AnomalyDetector) -> None:
    labeled = BAD.assign(broken=0)
    labeled.iloc[BROKEN, 2] = 1
    labeled.to_csv("labeled.csv")
    by_command = evaluate_table(open_run(place / "run"), TableRequest("labeled.csv", "broken")).as_json()
    found = fitted.evaluate(BAD, labeled["broken"])
    assert_same_json(found, by_command)
    assert found["new data"]["event_recall"]["value"] == 1
    assert set(found["new data"]["vus_pr"]["baselines"]) == {"PCA", "Mahalanobis", "raw values"}
    assert found["new data"]["event_alarmed_share"]["value"] == 1
    expected = average_precision_score(labeled["broken"], -fitted.score_samples(BAD, final=True))
    assert found["new data"]["auc_pr"]["value"] == pytest.approx(expected)
    unknown = labeled["broken"].astype(object)
    unknown.iloc[:5] = None
    assert fitted.evaluate(BAD, unknown) == fitted.evaluate(BAD, labeled["broken"] == 1) == found
    with pytest.raises(DataError, match="y marks no row, or every row"):
        fitted.evaluate(BAD, np.zeros(len(BAD)))
    with pytest.raises(ConfigError, match="y must be 0 and 1"):
        fitted.evaluate(BAD, np.where(labeled["broken"], -1, 1))
    coder = SequenceAutoencoder.load(place / "run")
    by_command = evaluate_table(open_run(place / "run"), TableRequest(str(place / "bad.csv"))).as_json()
    found = coder.evaluate(BAD)
    assert_same_json(found, by_command)
    assert found["verdict"]["new data"]["outcome"] in ("beats", "ties with", "loses to")
    assert -coder.score(BAD) == pytest.approx(found["new data"]["reconstruction_mse"]["value"])


def assert_same_json(found: Any, expected: Any) -> None:
    """Assert that numbers are equal up to rounding; a command computes few windows without the kernels."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same_json(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert_same_json(ours, theirs)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, nan_ok=True)
    elif not isinstance(expected, str):  # a verdict has numbers in its text
        assert found == expected


PUMP = Path(__file__).parents[2] / "saved_models/pump"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Series, Any]]:
    """Return the configs and tables that fitting passes on; it ends there with a `DataError`."""
    found: list[tuple[Series, Any]] = []

    def stop(config: Series, table: Any) -> Any:
        found.append((config, table))
        raise DataError("enough")

    monkeypatch.setattr(base, "complete_from_table", stop)
    return found


def fit_again(loaded: Any, *tables: Any) -> None:
    for model in (loaded, clone(loaded)):
        for rows in tables:
            with pytest.raises(DataError, match="enough"):
                model.fit(rows)


def test_freq_option_requires_rows_with_times(asked: list[tuple[Series, Any]]) -> None:
    with pytest.raises(ConfigError, match="options has freq '1h', but X has no times"):
        AnomalyDetector(options={"freq": "1h"}).fit(GOOD.to_numpy())
    # An inferred step is not an option of the loaded estimator, so it can be fitted on rows without times.
    loaded = AnomalyDetector.load(PUMP)
    assert "freq" not in loaded.get_params()["options"]
    fit_again(loaded, GOOD.to_numpy(), GOOD)
    assert [(config.freq, table.layout.time) for config, table in asked] == [(None, None), (None, "time")] * 2
    # A step that was set by the user is an option of the loaded estimator.
    shutil.copytree(PUMP, "run")
    document = json.loads(Path("run/config.json").read_text())
    document["data"]["notes"] = []
    Path("run/config.json").write_text(json.dumps(document))
    assert AnomalyDetector.load("run").get_params()["options"]["freq"] == "10min"


def test_autoencoder_refits_a_detector_run_without_detection_options(asked: list[tuple[Series, Any]]) -> None:
    """Detection options such as `threshold` do not apply to an autoencoder."""
    fit_again(SequenceAutoencoder.load(PUMP), GOOD)
    for config, _ in asked:
        assert (config.task, config.threshold, config.code, config.window) == ("reconstruct", None, 16, 144)


@pytest.mark.parametrize("good", sampled((1, 0), slow=(1,)))
def test_fit_keeps_the_last_good_weights_when_the_loss_becomes_nan(monkeypatch: pytest.MonkeyPatch, good: int) -> None:
    judge = Checkpointer.end_epoch

    def diverge(self: Checkpointer, logs: Any, rate: float) -> None:
        judge(self, logs if self.epoch < good else logs | {"val_loss": np.nan}, rate)

    monkeypatch.setattr(Checkpointer, "end_epoch", diverge)
    model, rows = AnomalyDetector(**TINY | {"epochs": 3}), GOOD.to_numpy()[:60]
    why = f"^The loss became NaN or infinite in epoch {good + 1}; "
    if good:
        # Epoch 0, the untrained model, is a candidate too, since one epoch may increase the loss.
        kept = r"the estimator has the weights of epoch (1|0 \(the untrained start\))\. Pass a lower learning_r"
        with pytest.warns(ConvergenceWarning, match=why + kept):
            model.fit(rows)
        assert np.isfinite(model.score_samples(rows)[1:]).all()
    else:
        with pytest.raises(DivergedError, match=why + "no epoch succeeded. Pass a lower learning_rate"):
            model.fit(rows)


def test_classifier_keeps_the_options_of_several_series() -> None:
    config = Series(task="classify", label_col="kind", id_col=("pump",), split_by="series")
    assert SequenceClassifier._parameters(config)["options"] == {"split_by": "series"}


def test_fit_warns_about_table_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    note = r"^(missing rows|scale|constants): "
    trained: list[Any] = []

    def train(config: Series, data: Any, **options: Any) -> Any:
        trained.append(data.source.notes)
        raise DataError("enough")

    monkeypatch.setattr(base.experiment, "fit_model", train)
    days = pd.bdate_range("2024-01-01", periods=200, name="day")
    frame = pd.DataFrame({"count": np.ones(200), "level": np.sin(np.arange(200))}, days)
    with pytest.warns(UserWarning, match=note) as told, pytest.raises(DataError, match="enough"):
        AnomalyDetector(window=5, options={"max_gap": 2}).fit(frame)
    missing, constants = [str(warning.message) for warning in told]
    assert missing == "missing rows: 28.1% of the steps of 1d have no row; they count as missing"
    assert constants.startswith("constants: ")
    assert "'count'" in constants
    assert {warning.filename for warning in told} == {__file__}
    # The classifier has its own fit method. Inferred settings cause no warnings.
    index = pd.MultiIndex.from_product([range(12), days[:20]], names=["pump", "day"])
    flow = np.random.default_rng(0).normal(size=240) * np.repeat([1e-3, *[1.0] * 11], 20)
    with pytest.warns(UserWarning, match=note) as told, pytest.raises(DataError, match="enough"):
        SequenceClassifier().fit(pd.DataFrame({"flow": flow}, index), np.repeat(np.arange(12) % 2, 20))
    assert [str(warning.message).partition(" of ")[0] for warning in told] == ["missing rows: 23.1%"]
    assert {warning.filename for warning in told} == {__file__}
    with pytest.raises(DataError, match="enough"):
        AnomalyDetector().fit(GOOD)
    assert trained[-1]


def test_detector_finds_the_event_and_its_cause(fitted: AnomalyDetector) -> None:
    events = fitted.detect(BAD)
    names = ["start", "end", "peak", "alarm", "kind", "score", "p", "provisional", "share flow", "share heat"]
    assert list(events) == names
    assert events["alarm"].isin(BAD.index[BROKEN]).all()
    assert events["alarm"][0] == BAD.index[BROKEN][0]
    assert (events["share flow"] > 0.7).all()
    assert (events["share flow"] + events["share heat"]).tolist() == pytest.approx([1] * len(events))
    assert (events["score"] > fitted.threshold_).all()
    assert not events["provisional"].any()
    assert events["p"].between(1e-9, 0.1).all()
    nothing = fitted.detect(BAD, threshold="fixed:1e9")
    assert len(nothing) == 0
    assert list(nothing) == names
    assert len(fitted.detect(GOOD)) == 0


def test_detector_follows_outlier_detection_conventions(fitted: AnomalyDetector) -> None:
    scores, decision, labels = fitted.score_samples(BAD), fitted.decision_function(BAD), fitted.predict(BAD)
    for found in (scores, decision, labels):
        assert isinstance(found, pd.Series)
        assert found.index.equals(BAD.index)
    np.testing.assert_array_equal(decision, scores - fitted.offset_)
    np.testing.assert_array_equal(labels, np.where(-scores > fitted.threshold_, -1, 1))
    # Windows with broken rows raise the scores up to a window after them.
    events, (first, last) = fitted.detect(BAD), BAD.index[BROKEN][[0, -1]]
    outliers = labels.index[labels == -1]
    assert events["start"].min() == outliers.min() == first
    assert last < events["end"].max() == outliers.max() < last + pd.Timedelta(fitted.window_, "h")
    assert (labels.loc[events["peak"]] == -1).all()
    # The rows of an array are assumed to have the fitted step.
    plain = np.asarray(BAD)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(fitted.predict(plain), labels)


def test_detector_scores_follow_row_order_zone_and_gaps(fitted: AnomalyDetector) -> None:
    scores = fitted.score_samples(BAD)
    order = np.random.default_rng(0).permutation(len(BAD))
    pd.testing.assert_series_equal(fitted.score_samples(BAD.iloc[order]), scores.iloc[order])
    zoned = BAD.tz_localize("UTC").tz_convert("Asia/Tokyo")
    peaks = fitted.detect(zoned)["peak"]
    assert peaks.tolist() == fitted.detect(BAD)["peak"].dt.tz_localize("UTC").tolist() != []
    assert str(peaks.dt.tz) == "Asia/Tokyo"
    # A gap of 2 rows is filled; a gap of a day starts a new segment.
    short = BAD.drop(BAD.index[[100, 101]])
    filled = fitted.score_samples(short)
    assert filled.index.equals(short.index)
    np.testing.assert_allclose(filled.iloc[150:], scores.loc[short.index].iloc[150:], rtol=1e-5)
    long = BAD.drop(BAD.index[100:124])
    parted, rest = fitted.score_samples(long), fitted.score_samples(BAD.iloc[124:])
    np.testing.assert_allclose(parted.iloc[100:], rest, rtol=1e-5)


def test_scores_and_alarms_do_not_depend_on_later_rows(fitted: AnomalyDetector) -> None:
    scores, seen = fitted.score_samples(BAD), BAD[: BROKEN.start + 6]
    assert scores.isna().tolist() == [True] * (DAY - 1) + [False] * (len(BAD) - DAY + 1)
    pd.testing.assert_series_equal(fitted.score_samples(seen), scores[: len(seen)])
    events, early = fitted.detect(BAD), fitted.detect(seen)
    assert early["alarm"].tolist() == events["alarm"][events["alarm"] <= seen.index[-1]].tolist() != []
    assert early["provisional"].tolist() == [False] * (len(early) - 1) + [True]
    for event in events.to_dict("records"):
        assert event["score"] == -scores[event["start"] : event["end"]].min()
    final = fitted.score_samples(BAD, final=True)
    assert np.isfinite(final).all()
    assert (fitted.score_samples(seen, final=True) - final[: len(seen)]).abs().max() > 1


def test_adapted_scores_follow_slow_change(fitted: AnomalyDetector) -> None:
    """The noise grows slowly to four times its usual level."""
    noise = np.random.default_rng(3).normal(size=GOOD.shape) * [0.5, 0.2]
    rows = GOOD + noise * np.linspace(0, 3, len(GOOD))[:, None]
    constant, adapted = (fitted.score_samples(rows, adapt=adapt) for adapt in (None, 3 * DAY))
    assert constant[300:].mean() < 2 * constant[DAY:200].mean()
    assert adapted[300:].mean() > 1.5 * adapted[DAY:200].mean()
    assert len(fitted.detect(rows)) > len(fitted.detect(rows, adapt=3 * DAY))
    with pytest.raises(ConfigError, match=r"^adapt must be at least 24"):
        fitted.score_samples(rows, adapt=3)


def test_rows_without_a_score_are_predicted_normal(fitted: AnomalyDetector) -> None:
    rows = BAD.drop(BAD.index[10:80])  # 10 rows before a long gap contain no window
    for final, unscored in ((True, 10), (False, 10 + DAY - 1)):
        scores = fitted.score_samples(rows, final=final)
        assert scores.isna().tolist() == [True] * unscored + [False] * (len(rows) - unscored)
    assert fitted.predict(rows).iloc[:unscored].tolist() == [1] * unscored
    rows = BAD.copy()
    rows.iloc[50, 0] = np.nan
    assert np.isfinite(fitted.score_samples(rows)[DAY - 1 :]).all()


def test_autoencoder_transforms_and_reconstructs(coder: SequenceAutoencoder) -> None:
    rows = GOOD.to_numpy()
    codes, back = coder.transform(rows), coder.reconstruct(rows)
    assert codes.shape == (480, 3)
    assert codes.dtype == back.dtype == np.float32
    assert np.isnan(codes[:7]).all()
    assert np.isfinite(codes[7:]).all()
    assert back.shape == rows.shape
    assert np.isfinite(back).all()
    # A code depends only on the window up to its row.
    np.testing.assert_allclose(coder.transform(rows[100:150])[7:], codes[107:150], rtol=1e-5, atol=1e-6)


def test_set_output_names_codes_and_keeps_the_index(coder: SequenceAutoencoder) -> None:
    framed = copy.copy(coder).set_output(transform="pandas")
    codes = framed.transform(GOOD.to_numpy())
    assert list(codes) == ["code0", "code1", "code2"]
    np.testing.assert_array_equal(codes, coder.transform(GOOD.to_numpy()))
    with pytest.warns(UserWarning, match="X has feature names"):
        assert framed.transform(GOOD).index.equals(GOOD.index)
    assert type(coder.transform(GOOD.to_numpy())) is np.ndarray


def test_autoencoder_reconstructs_short_gaps_but_not_long_gaps(coder: SequenceAutoencoder) -> None:
    rows = GOOD.to_numpy().copy()
    rows[50], rows[100:120] = np.nan, np.nan
    back, codes = coder.reconstruct(rows), coder.transform(rows)
    assert np.isfinite(back[50]).all()
    # 20 rows without values are a long gap; the first complete window after it ends at row 127.
    assert np.flatnonzero(np.isnan(codes[7:]).any(axis=1)).tolist() == list(range(93, 120))
    assert np.flatnonzero(np.isnan(back).any(axis=1)).tolist() == list(range(100, 120))


def test_loaded_run_is_saved_byte_by_byte(coder: SequenceAutoencoder, tmp_path: Path) -> None:
    first = coder.save(tmp_path / "first")
    (first / "figures").mkdir()
    (first / "figures" / "loss.png").write_bytes(b"a figure")
    second = SequenceAutoencoder.load(first).save(tmp_path / "second")
    names = {"config.json", "history.csv", "metrics.json", "model.keras", "components.npz"}
    assert {path.name for path in second.iterdir()} == names
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_autoencoder_save_and_load_and_refused_runs(coder: SequenceAutoencoder) -> None:
    loaded = SequenceAutoencoder.load(coder.save("run"))
    np.testing.assert_array_equal(loaded.transform(GOOD.to_numpy()), coder.transform(GOOD.to_numpy()))
    assert not hasattr(loaded, "feature_names_in_")
    wanted = coder.get_params() | {"batch_size": 8, "options": {"max_gap": 2}}
    assert loaded.get_params() == wanted
    with pytest.raises(DataError, match=r"'run' is a run of --task reconstruct\. Fit a new AnomalyDetector"):
        AnomalyDetector.load("run")
    Path("run/model.keras").write_bytes(b"no model")
    with pytest.raises(DataError, match=r"^'run/model\.keras' is missing, damaged, or not a model"):
        SequenceAutoencoder.load("run").transform(GOOD.to_numpy())
    Path("run/metrics.json").unlink()
    with pytest.raises(DataError, match="'run' is unfinished"):
        SequenceAutoencoder.load("run")


def test_estimator_defaults_equal_the_config_and_are_documented() -> None:
    for kind in (SequenceAutoencoder, AnomalyDetector, SequenceClassifier, SequenceForecaster):
        asked = kind().get_params()
        arguments = inspect.getdoc(kind).partition("Attributes:")[0]  # type: ignore[union-attr]
        assert all(name in arguments for name in asked)
        del asked["options"]
        assert asked.pop("random_state") == Series().seed
        assert asked == {name: getattr(Series(), name) for name in asked}
    given = SequenceAutoencoder(
        window=np.int64(7), random_state=5, options={"layers": np.int64(2), "split": "0.8,0.1,0.1"}
    )
    config = given._config()
    assert (config.window, config.seed, config.layers, config.task) == (7, 5, 2, "reconstruct")
    drawn = {SequenceAutoencoder(random_state=np.random.RandomState(3))._config().seed for _ in range(3)}
    assert len(drawn) == 1


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"window": 1}, "window must be a whole number at least 2"),
        ({"scale": "robust"}, "scale must be one of none, standard, minmax, series, window"),
        ({"threshold": "often"}, "threshold must be quantile:Q"),
        ({"options": {"max_gap": -1}}, 'options["max_gap"] must be'),
        ({"options": {"units": 3}}, "options has 'units', which is a parameter or follows from the data"),
        ({"options": {"seed": 3}}, "options has 'seed', which is a parameter or follows from the data"),
        ({"options": {"layer": 3}}, "Unknown key 'layer' in the config of series. Did you mean 'layers'?"),
    ],
)
def test_detector_fit_refuses_invalid_parameters(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AnomalyDetector(**parameters).fit(GOOD)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        (np.ones(50), ValueError, "Expected 2D array, got 1D array"),
        (np.full((50, 1), np.inf), ValueError, "infinity"),
        (np.full((50, 1), -1e300), DataError, "X, row 0, column 0: -1e+300 is too large for single precision"),
        (np.ones((3, 1)), DataError, "split holds no window"),
        (
            GOOD.iloc[[0, 1, 2, 2, 3, 4, 5, 6]],
            DataError,
            "X: 1 row with a duplicate timestamp: row 2 and row 3 are both at",
        ),
        (GOOD.rename_axis("flow"), DataError, "the index of times and a column are both called 'flow'"),
        (GOOD.set_axis(["flow", "flow"], axis=1), DataError, "X has more than one column 'flow'"),
        (GOOD.set_axis([pd.NaT, *GOOD.index[1:]]), DataError, "X, row 0 of the index: the time is missing"),
    ],
)
def test_autoencoder_fit_refuses_invalid_rows(rows: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        SequenceAutoencoder(window=4).fit(rows)
    assert words in str(caught.value)


def test_text_index_with_times_is_warned_about(coder: SequenceAutoencoder) -> None:
    hours = pd.date_range("2024-01-01", periods=9, freq="h").astype(str)
    for index in (hours, [f"{day}/01/2024" for day in range(15, 24)]):
        with pytest.warns(UserWarning, match="The index of X holds times as text"):
            coder.transform(pd.DataFrame(np.ones((9, 2)), pd.Index(index)))
    for index in (list("abcdefghi"), list(range(2000, 2009)), [f"pump {k}" for k in range(9)]):
        assert describe_text_times(pd.Index(index)) == ""


def test_fitted_estimators_refuse_invalid_rows(coder: SequenceAutoencoder, fitted: AnomalyDetector) -> None:
    with pytest.raises(DataError, match="X has 7 rows, and a window has 8"):
        coder.transform(np.ones((7, 2)))
    with pytest.raises(ValueError, match="X has 3 features, but SequenceAutoencoder is expecting 2 features"):
        coder.score(np.ones((9, 3)))
    with pytest.raises(ValueError, match="The feature names should match"):
        fitted.predict(BAD.rename(columns={"heat": "cold"}))
    with pytest.raises(ConfigError, match=r"^threshold must be quantile:Q"):
        fitted.detect(BAD, threshold="often")
    with pytest.raises(DataError, match='Add scale="series" and an index of series and times, or options'):
        fitted.predict(pd.concat([BAD, BAD[:1]]))


@pytest.mark.slow
def test_autoencoder_in_a_pipeline_and_a_grid_search(untraced: None) -> None:
    rows = pd.Series(np.sin(np.arange(300) / 3), name="level")
    pipeline = make_pipeline(StandardScaler(), SequenceAutoencoder(**TINY)).fit(rows.to_frame())
    assert pipeline.transform(rows.to_frame()).shape == (300, 2)
    search = GridSearchCV(SequenceAutoencoder(**TINY), {"units": np.array([1, 3])}, cv=TimeSeriesSplit(2))
    search.fit(rows.to_frame())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["units"] in (1, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autoencoder", "classifier", "detector", "forecaster", "inputs", "pyod", "sktime"])
def test_estimator_docstring_examples(name: str) -> None:
    if name in ("pyod", "sktime"):
        pytest.importorskip(name)
    found = doctest.testmod(importlib.import_module(f"lstm_ae.estimators.{name}"), extraglobs={"np": np})
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize(
    ("estimator", "check"),
    check_parameters(SequenceAutoencoder(**TINY), AnomalyDetector(threshold="quantile:0.9", **TINY)),
)
def test_estimators_pass_scikit_learn_checks(estimator: Any, check: Any, untraced: None) -> None:
    check(estimator)
