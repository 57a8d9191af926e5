"""Classifiers of tables: the network, the commands, predictions by row and by series, and the export."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from loaded_once import loaded_once
from searches import call, done, refused

from lstm_ae.apply import classify as classify_module
from lstm_ae.apply.classify import (
    ClassifiedTable,
    RunClassifier,
    class_columns,
    classify_table,
    count_classes,
    load_classifier,
    row_probabilities,
)
from lstm_ae.apply.run_table import TableRequest, read_run_table
from lstm_ae.config import Series
from lstm_ae.data.frames import RowCodes, panel_from_rows
from lstm_ae.data.scaling import SeriesScales, fixed_scale
from lstm_ae.data.windows import Data, Source, Split
from lstm_ae.errors import ConfigError
from lstm_ae.models.classifier import pooled_classifier
from lstm_ae.run import open_run
from lstm_ae.training.steps import TrainingSteps

NAN = float("nan")
QUICK = "--units 8 --epochs 4 --batch-size 16 --learning-rate 0.02 --seeds 1"
KINDS = ("slow", "mid", "fast")


def walks(series: int = 120, seed: int = 0) -> pd.DataFrame:
    """Return waves of three speeds with random phases, 12 to 20 rows each, sorted by time as a logger writes them."""
    random = np.random.default_rng(seed)
    frames = []
    for name in range(series):
        rows, kind = int(random.integers(12, 21)), name % 3
        turn = np.arange(rows) * (0.5 + 0.6 * kind) + random.uniform(0, 6)
        level = (np.sin(turn) + random.normal(0, 0.05, rows)).round(4)
        times = pd.date_range("2024-01-01", periods=rows, freq="s")
        frames.append(pd.DataFrame({"time": times, "walk": f"w{name}", "level": level, "kind": KINDS[kind]}))
    return pd.concat(frames).sort_values(["time", "walk"], ignore_index=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with the table and a run trained on whole series, which no test changes."""
    folder = tmp_path_factory.mktemp("walks")
    walks().to_csv(folder / "walks.csv", index=False)
    with contextlib.chdir(folder):
        said = call(f"series train {folder}/walks.csv --task classify --id-col walk --label-col kind --out run {QUICK}")
    assert said.code == 0, said.err
    with loaded_once(classify_module, "load_classifier", folder / "run"):
        yield folder


def classified(run: Path, data: str) -> ClassifiedTable:
    classifier = load_classifier(open_run(run))
    return classify_table(classifier, read_run_table(classifier.config, TableRequest(data)))


def config_of(**options: Any) -> Series:
    return Series.from_dict({"task": "classify", "label_col": "kind", "units": 3, **options})


@pytest.mark.parametrize("bidirectional", [False, True])
def test_pooled_classifier_with_missing_values_by_hand(bidirectional: bool) -> None:
    config = config_of(bidirectional=bidirectional)
    network = pooled_classifier(config, steps=4, features=2, classes=3, missing=True)
    assert network.output["label"].shape == (None, 3)
    window = np.random.default_rng(0).normal(size=(2, 4, 2)).astype(np.float32)
    window[0, 0], window[1, 1, 1] = NAN, NAN
    label = np.asarray(network({"sequence": window})["label"])
    np.testing.assert_allclose(label.sum(axis=1), 1, rtol=1e-6)
    # By hand: the mean of the recurrent states over steps with a value, and the last state of each direction.
    absent = np.isnan(window)
    read = np.concatenate([np.where(absent, 0, window), absent], axis=2).astype(np.float32)
    layer = network.get_layer("encoder_1_both" if bidirectional else "encoder_1")
    states = np.asarray(layer(read))
    there = ~absent.all(axis=2)
    mean = np.stack([states[k][there[k]].mean(axis=0) for k in range(2)])
    last = np.concatenate([states[:, -1, :3], states[:, 0, 3:]], axis=1)
    kernel, bias = map(np.asarray, network.get_layer("label").weights)
    evidence = np.exp(np.concatenate([mean, last], axis=1) @ kernel + bias)
    np.testing.assert_allclose(label, evidence / evidence.sum(axis=1, keepdims=True), rtol=1e-5)
    nothing = np.asarray(network({"sequence": np.full((1, 4, 2), NAN, np.float32)})["label"])
    assert np.isfinite(nothing).all()


def test_loss_of_a_classifier_is_the_cross_entropy() -> None:
    import keras

    windows = np.random.default_rng(0).normal(size=(6, 4, 1)).astype(np.float32)
    label = np.array([0, 1, 1, 0, 2, 1], np.int32)
    split = Split(windows.reshape(-1, 1), np.arange(6, dtype=np.int64) * 4, 4, label=label)
    data = Data(split, split, split, fixed_scale(), Source("t", "", ""))
    network = pooled_classifier(config_of(), steps=4, features=1, classes=3, missing=False)
    optimizer = keras.optimizers.Adam()
    optimizer.build(network.trainable_variables)
    steps = TrainingSteps(network, optimizer, data, batch_size=6, count=1, parts=2, reconstruction_weight=0.9)
    assert steps.names == ["loss", "label_accuracy"]
    said = np.asarray(network({"sequence": windows})["label"])
    told = steps.validate()
    assert told["loss"] == pytest.approx(-np.log(said[np.arange(6), label]).mean(), rel=1e-5)
    assert told["label_accuracy"] == pytest.approx((said.argmax(axis=1) == label).mean())


def test_training_stores_inferred_settings_and_metrics(place: Path) -> None:
    run = open_run(place / "run")
    config, metrics = run.config(), run.metrics()
    assert isinstance(config, Series)
    assert (config.split_by, config.window, config.max_gap) == ("series", 20, 20)
    assert config.classes == ("fast", "mid", "slow")
    assert metrics["test"]["accuracy"]["value"] > 0.8
    assert list(metrics["test"]["accuracy"]["baselines"])[1] == "logistic regression"
    assert list(metrics["test"]["log_loss"]["baselines"]) == [
        "class shares",
        "logistic regression",
        "logistic regression on convolutions",
    ]
    assert metrics["verdict"]["test"]["baseline"] == "logistic regression on convolutions"
    assert {path.stem for path in (run.directory / "figures").iterdir()} == {"confusion", "curves"}


def test_classify_writes_one_row_per_series_with_probabilities(place: Path) -> None:
    walks(30, seed=1).to_csv("new.csv", index=False)
    done(f"series classify {place}/run new.csv --out classes.csv")
    found = pd.read_csv("classes.csv")
    assert list(found) == ["walk", "class", "probability", "probability fast", "probability mid", "probability slow"]
    assert found["walk"].tolist() == [f"w{k}" for k in sorted(range(30), key=lambda k: f"w{k}")]
    truth = [KINDS[int(name[1:]) % 3] for name in found["walk"]]
    right = (found["class"] == truth).mean()
    assert right > 0.8
    np.testing.assert_allclose(found.filter(like="probability ").sum(axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(found.filter(like="probability ").max(axis=1), found["probability"])


def test_longer_series_are_classified_row_by_row(place: Path) -> None:
    table = walks(2)
    long = pd.DataFrame({"time": pd.date_range("2024-01-01", periods=25, freq="s"), "walk": "long", "level": 0.5})
    pd.concat([table, long]).drop(columns="kind").to_csv("t.csv", index=False)
    said = done(f"series classify {place}/run t.csv --out c.csv")
    found = pd.read_csv("c.csv")
    assert list(found)[:3] == ["walk", "time", "class"]
    assert len(found) == len(table) + 25
    assert found["class"].notna().groupby(found["walk"]).sum().to_dict() == {"long": 6, "w0": 1, "w1": 1}
    assert f"{len(found) - 8} rows without a class: no complete window with a value ends there" in said.out


def test_classify_refuses_invalid_options_and_other_runs(place: Path) -> None:
    walks(3).rename(columns={"walk": "class"}).to_csv("t.csv", index=False)
    run = f"{place}/run"
    assert (
        refused(f"series classify {run} t.csv --out c.txt", 2)
        == "--out must end in .csv or .parquet. Received: 'c.txt'"
    )
    assert "--id-col names 'walk', which is not a column of 't.csv'" in refused(
        f"series classify {run} t.csv --out c.csv", 2
    )
    for verb, words in (("detect", "is not an anomaly detector"), ("encode", "is a run of --task classify")):
        line = f"series {verb} {run} {place}/walks.csv" + (" --out c.csv" if verb == "encode" else "")
        assert words in refused(line, 2 if verb == "encode" else 3)


def answering(config: Series) -> RunClassifier:
    """Return a classifier whose class is the first known value of the window."""

    def probabilities(windows: Any) -> Any:
        first = np.argmax(~np.isnan(windows[..., 0]), axis=1)
        place = np.nan_to_num(windows[np.arange(len(windows)), first, 0]).astype(int)
        return np.eye(len(config.classes), dtype=np.float32)[place]

    return RunClassifier(config, SeriesScales(fixed_scale()), probabilities)


def test_classification_by_row_by_hand() -> None:
    """A row has the class of the window of two rows that ends there; `every_row` pads before the first row."""
    config = config_of(window=2, classes=("x", "y", "z"), freq="rows", max_gap=2, split_by="time", value_cols=("a",))
    values = np.array([[0], [1], [2], [NAN], [NAN], [1]], float)
    labels = RowCodes(("kind",), np.array([0, 0, 1, 2, 2, -1], np.int32), ("x", "y", "z"))
    table = panel_from_rows(values, ["a"], labels=labels)
    found = classify_table(answering(config), table)
    assert not found.by_series
    assert found.ends.tolist() == [1, 2, 3, 4, 5]
    assert found.predicted.tolist() == [0, 1, 2, -1, 1]
    assert found.truth.tolist() == [0, 1, 2, 2, -1]
    said = row_probabilities(found)
    assert np.isnan(said).all(axis=1).tolist() == [True, False, False, False, True, False]
    every = row_probabilities(classify_table(answering(config), table, every_row=True))
    np.testing.assert_array_equal(every[1:], said[1:])
    assert every[0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("duplicates", ["error", "mean"])
def test_class_counts_exclude_grid_rows_missing_from_the_table(duplicates: str) -> None:
    """Windows also end in the gap after minute 1."""
    minutes = [0, 1, 6, 7, 8, *([8] * (duplicates == "mean"))]
    index = pd.DatetimeIndex(np.datetime64("2024-01-01T00:00", "ns") + np.array(minutes) * np.timedelta64(1, "m"))
    config = config_of(
        window=2, classes=("x", "y"), freq="1min", max_gap=4, split_by="time", value_cols=("a",), duplicates=duplicates
    )
    table = panel_from_rows(np.array([[1.0]] * 2 + [[0.0]] * (len(minutes) - 2)), ["a"], index)
    found = classify_table(answering(config), table)
    assert found.ends.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert found.known.tolist() == [True] + [False] * 4 + [True] * 3
    assert count_classes(found) == {"x": 3, "y": 1}
    assert sum(said != "" for said in class_columns(found)["class"]) == 4 + (duplicates == "mean")


def test_classification_by_series_by_hand() -> None:
    """The rows of two series alternate; each row has the class of its series."""
    series = RowCodes(("walk",), np.array([1, 0, 1, 0, 1], np.int32), ("p", "q"))
    table = panel_from_rows(np.array([[1], [2], [0], [0], [0]], float), ["a"], series=series)
    config = config_of(window=3, classes=("x", "y", "z"), freq="rows", max_gap=3, split_by="series", id_col=("walk",))
    found = classify_table(answering(config), table)
    assert found.by_series
    assert found.prepared.grid.series[found.ends].tolist() == [0, 1]
    assert row_probabilities(found).argmax(axis=1).tolist() == [1, 2, 1, 2, 1]
    assert class_columns(found)["walk"] == ["p", "q"]
    assert class_columns(found)["class"] == ["z", "y"]
    # Predictions do not overwrite a column of the table.
    layout = found.prepared.table.layout._replace(ids=("class",))
    with pytest.raises(ConfigError, match="The column 'class' has the name of an output column"):
        class_columns(found._replace(prepared=found.prepared._replace(table=table._replace(layout=layout))))


def test_longer_series_do_not_change_predictions_of_others() -> None:
    """Classify a short series and one as long as a window, alone and with a longer series and one without values."""
    config = config_of(window=3, classes=("x", "y", "z"), freq="rows", max_gap=1, split_by="series", id_col=("walk",))
    last = RunClassifier(
        config,
        SeriesScales(fixed_scale()),
        lambda windows: np.eye(3, dtype=np.float32)[np.nan_to_num(windows[:, -1, 0]).astype(int)],
    )
    rows = {"p": [2, 0], "q": [1, 0, 2], "long": [1, 2, 0, 1, 0], "empty": [NAN] * 4}

    def said(*names: str) -> Any:
        places = np.repeat(np.arange(len(names), dtype=np.int32), [len(rows[name]) for name in names])
        values = np.concatenate([rows[name] for name in names])[:, None]
        table = panel_from_rows(values, ["a"], series=RowCodes(("walk",), places, names))
        answers = row_probabilities(classify_table(last, table, every_row=True))
        none = np.isnan(answers[:, 0])
        found = np.where(none, -1, np.where(none[:, None], 0, answers).argmax(axis=1))
        return {name: found[places == place].tolist() for place, name in enumerate(names)}

    alone = said("p", "q")
    assert alone == {"p": [0, 0], "q": [2, 2, 2]}
    together = said("long", "p", "empty", "q")
    assert {name: together[name] for name in alone} == alone
    assert together["long"] == [1, 2, 0, 1, 0]
    assert together["empty"] == [-1] * 4
    assert together["long"] == said("long")["long"]


def test_every_row_of_short_series_is_classified_when_split_by_time() -> None:
    config = config_of(window=3, classes=("x", "y", "z"), freq="rows", max_gap=1, split_by="time", id_col=("walk",))
    series = RowCodes(("walk",), np.array([0, 0, 1, 1, 1, 1], np.int32), ("short", "long"))
    table = panel_from_rows(np.array([[2], [0], [1], [2], [0], [0]], float), ["a"], series=series)
    found = classify_table(answering(config), table, every_row=True)
    assert not found.by_series
    assert row_probabilities(found).argmax(axis=1).tolist() == [2, 2, 1, 1, 1, 2]
    assert (
        np.isnan(row_probabilities(classify_table(answering(config), table))).all(axis=1).tolist()
        == [True] * 4 + [False] * 2
    )
