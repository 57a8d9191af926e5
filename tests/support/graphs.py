"""A small SavedModel, and edits of its graph."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from lstm_ae.export.graph_check import find_forbidden, read_graph

X = tf.TensorSpec((None, 2), tf.float32, name="x")


def save_plain(path: Path) -> Path:
    """Write a model with one weight, whose signature computes the softsign of its product with `x`."""

    class Plain(tf.Module):
        def __init__(self) -> None:
            self.weight = tf.Variable(2.0)

        @tf.function(input_signature=[X])
        def serve(self, x: Any) -> Any:
            return {"y": tf.nn.softsign(self.weight * x)}

    model = Plain()
    tf.saved_model.save(model, str(path), signatures=model.serve)
    return path


def save_evil(path: Path, *shape: int, name: str = "x") -> None:
    """Write a model that writes a file when it is called."""

    def serve(**inputs: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file("written", "evil")]):
            return {"y": tf.identity(inputs[name])}

    module = tf.Module()
    module.serve = tf.function(serve)
    signature = module.serve.get_concrete_function(**{name: tf.TensorSpec((None, *shape), tf.float32, name=name)})
    tf.saved_model.save(module, str(path), signatures=signature)


def edit_graph(plain: Path, path: Path, edit: Callable[[Any], None]) -> Path:
    """Copy a version and edit the copy's meta graph."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(plain, path)
    content = SavedModel()
    content.ParseFromString((path / "saved_model.pb").read_bytes())
    edit(content.meta_graphs[0])
    (path / "saved_model.pb").write_bytes(content.SerializeToString())
    return path


def node(nodes: Any, op: str, name: str = "added", inputs: tuple[str, ...] = ()) -> Any:
    """Add a node to a graph."""
    added = nodes.add()
    added.op, added.name = op, name
    added.input.extend(inputs)
    return added


def function(meta: Any, start: str) -> Any:
    """Return the only function whose name starts with this prefix."""
    (found,) = [each for each in meta.graph_def.library.function if each.signature.name.startswith(start)]
    return found


def forbidden(version: Path) -> list[str]:
    """Return the forbidden parts of a model."""
    return find_forbidden(read_graph(version))


def edited(version: Path, edit: Callable[[Any], None]) -> list[str]:
    """Return the forbidden parts of a model whose meta graph was edited."""
    return forbidden(edit_graph(version, Path("edited"), edit))
