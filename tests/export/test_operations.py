"""A SavedModel may contain only allowed operations; common models pass, side effects are refused."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from graphs import X, edited, forbidden
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers
from tensorflow.python.framework import op_def_registry

from lstm_ae.errors import DataError
from lstm_ae.export import graph_check, operations
from lstm_ae.export.operations import ALLOWED_OPERATIONS

ROOT = Path(__file__).parents[2] / "saved_models"
SHIPPED = sorted(ROOT.glob("*/[0-9]*"))


def saved(path: Path, function: Callable[[Any], Any], **objects: Any) -> Path:
    """Save a SavedModel that computes a function of `x`."""
    module = tf.Module()
    for name, value in objects.items():
        setattr(module, name, value)
    module.serve = tf.function(function, input_signature=[X])
    tf.saved_model.save(module, str(path), signatures=module.serve)
    return path


@pytest.mark.parametrize("version", SHIPPED, ids=lambda path: path.parent.name)
def test_the_shipped_models_pass(version: Path) -> None:
    assert forbidden(version) == []


def test_a_plain_model_passes(plain: Path) -> None:
    assert forbidden(plain) == []
    assert edited(plain, lambda meta: None) == []


@pytest.mark.slow
def test_common_keras_models_pass(tmp_path: Path) -> None:
    """The model combines common layers for images, text, and time series."""
    picture = keras.Input((12, 12, 3), name="picture")
    x = layers.Rescaling(1 / 255)(picture)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = layers.DepthwiseConv2D(3)(layers.BatchNormalization()(x))
    x = layers.UpSampling2D()(layers.MaxPooling2D()(layers.SpatialDropout2D(0.1)(layers.AveragePooling2D(1)(x))))
    x = layers.Conv2DTranspose(2, 3, activation="gelu")(layers.ZeroPadding2D()(x))
    words = keras.Input((7,), dtype="int32", name="words")
    y = layers.Embedding(10, 4, mask_zero=True)(words)
    y = layers.LayerNormalization()(layers.MultiHeadAttention(2, 2)(y, y, use_causal_mask=True))
    y = layers.Bidirectional(layers.GRU(3, return_sequences=True))(y)
    y = layers.LSTM(3, dropout=0.1, recurrent_dropout=0.1)(y)
    series = keras.Input((None, 2), name="series")
    t = layers.GlobalMaxPooling1D()(layers.Conv1D(3, 2, activation="silu", padding="causal")(series))
    parts = [layers.Flatten()(x), t, layers.PReLU()(layers.Dense(3, activation="selu")(y))]
    z = layers.UnitNormalization()(layers.GaussianNoise(0.1)(layers.Concatenate()(parts)))
    outputs = layers.Dense(2, activation="softmax")(layers.Dropout(0.5)(z))
    model = keras.Model([picture, words, series], outputs)
    model.export(str(tmp_path / "1"), verbose=False)
    assert forbidden(tmp_path / "1") == []


@pytest.mark.parametrize(
    ("compute", "found"),
    [
        (lambda x: _writing(x), "WriteFile"),
        (lambda x: tf.strings.to_number(tf.io.read_file("secret")) + x, "ReadFile"),
        (lambda x: tf.py_function(lambda y: y, [x], tf.float32), "EagerPyFunc"),
        (lambda x: tf.numpy_function(lambda y: y, [x], tf.float32), "PyFunc"),
        (lambda x: _then(tf.print("hello", x), x), "PrintV2"),
        (lambda x: tf.while_loop(lambda y: y < 9, lambda y: [_writing(y)], [x[0, 0]]), "WriteFile"),
        (lambda x: tf.cond(x[0, 0] > 0, lambda: _writing(x), lambda: x), "WriteFile"),
        (lambda x: _then(tf.raw_ops.VarHandleOp(shared_name="weight", dtype=tf.float32, shape=()), x), "VarHandleOp"),
        (lambda x: _checkpoint() + x, "RestoreV2"),
    ],
    ids=["writes", "reads", "python", "numpy", "prints", "in-a-loop", "in-a-branch", "shared-variable", "checkpoint"],
)
def test_file_python_print_and_shared_state_operations_are_forbidden(
    compute: Callable[[Any], Any], found: str, empty_directory: Path
) -> None:
    path = saved(Path("model"), compute)
    before = sorted(Path().rglob("*"))
    assert found in forbidden(path)
    assert sorted(Path().rglob("*")) == before  # the operations have not run


def _writing(value: Any) -> Any:
    return _then(tf.io.write_file("written", "evil"), value + 1)


def _checkpoint() -> Any:
    (read,) = tf.raw_ops.RestoreV2(prefix="p", tensor_names=["n"], shape_and_slices=[""], dtypes=[tf.float32])
    return read


def _then(operation: Any, value: Any) -> Any:
    with tf.control_dependencies([operation]):
        return tf.identity(value)


def test_model_with_a_counter_variable_passes(empty_directory: Path) -> None:
    """Keras counts its seeds this way, and no other model can access the variable."""
    count = tf.Variable(0.0)
    assert forbidden(saved(Path("model"), lambda x: x + count.assign_add(1.0), count=count)) == []


def test_lookup_tables_and_asset_files_are_refused(empty_directory: Path) -> None:
    Path("words.txt").write_text("1\tone\n2\ttwo\n")
    initializer = tf.lookup.TextFileInitializer("words.txt", tf.int64, 0, tf.string, 1)
    table = tf.lookup.StaticHashTable(initializer, "?")
    found = forbidden(
        saved(
            Path("model"),
            lambda x: x + tf.cast(tf.strings.length(table.lookup(tf.constant(3, tf.int64))), tf.float32),
            table=table,
        )
    )
    assert {"asset files", "objects of kind asset", "objects of kind resource", "HashTableV2"} <= set(found)
    assert "InitializeTableFromTextFileV2" in found


def test_listed_operations_exist_in_tensorflow() -> None:
    every = (
        ALLOWED_OPERATIONS
        | operations.TOP_LEVEL_OPERATIONS
        | operations.RESTORE_OPERATIONS
        | operations.SAVE_OPERATIONS
    )
    assert not [name for name in every if op_def_registry.get(name) is None]


def test_stateful_operations_are_allowed_by_name_only() -> None:
    """A new operation with side effects requires a change of this test."""
    assert {name for name in ALLOWED_OPERATIONS if op_def_registry.get(name).is_stateful} == {
        *("AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp"),
        *("Assert", "Case", "If", "StatefulPartitionedCall", "While"),
        *("DisableCopyOnRead", "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape"),
        *("Multinomial", "RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal"),
        "StatelessRandomGetAlg",
    }


def test_missing_damaged_and_large_graph_files_raise_data_error(
    plain: Path, empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("model")
    with pytest.raises(DataError, match=r"^'model' is not a SavedModel: it has no saved_model\.pb$"):
        forbidden(path)
    path.mkdir()
    (path / "saved_model.pb").mkdir()
    with pytest.raises(DataError, match=r"it has no saved_model\.pb$"):
        forbidden(path)
    (path / "saved_model.pb").rmdir()
    for content in (b"", b"<!DOCTYPE html>", b"\xff" * 9):
        (path / "saved_model.pb").write_bytes(content)
        with pytest.raises(DataError, match=r"^'model/saved_model\.pb' is damaged"):
            forbidden(path)
    whole = (plain / "saved_model.pb").read_bytes()
    (path / "saved_model.pb").write_bytes(whole)
    monkeypatch.setattr(graph_check, "MAX_GRAPH_BYTES", len(whole))
    assert forbidden(path) == []
    monkeypatch.setattr(graph_check, "MAX_GRAPH_BYTES", len(whole) - 1)
    with pytest.raises(DataError, match=f"is larger than {len(whole) - 1:,} bytes"):
        forbidden(path)
    for name in graph_check.OTHER_GRAPH_FILES:  # TensorFlow would load these unchecked files
        (path / name).touch()
        with pytest.raises(DataError, match=f"^'model/{name}' is not a supported form of SavedModel"):
            forbidden(path)
        (path / name).unlink()


@given(place=st.integers(0), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_graph_file_raises_only_data_error(
    plain: Path, tmp_path: Path, place: int, byte: int, cut: bool
) -> None:
    whole = bytearray((plain / "saved_model.pb").read_bytes())
    place %= len(whole)
    whole[place] = byte
    (tmp_path / "saved_model.pb").write_bytes(whole[:place] if cut else whole)
    with contextlib.suppress(DataError):
        assert all(isinstance(name, str) for name in forbidden(tmp_path))
