"""The model in other formats, each run in its own runtime and compared with the trained one: ONNX and LiteRT.

Both files hold what `serving_default` does: the model's own inputs and outputs. They lie in `assets.extra`, which
TensorFlow Serving leaves alone, so that they are renamed with their version and stand in its manifest.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from lstm_ae.errors import ConfigError, UnprovenError
from lstm_ae.export.endpoints import EndpointFunction, Tensors
from lstm_ae.export.probe import compare_outputs
from lstm_ae.export.verification import VerificationCase
from lstm_ae.installation import install_hint

# Other kernels round otherwise: 3e-7 for series, 3e-6 for small class probabilities, in parts of the largest value.
TOLERANCE = 1e-5

ONNX_OPSET = 17


class ModelFormat(NamedTuple):
    """A further format.

    Args:
        file: its path in a version.
        modules: what converts and runs it; the extra of the format's name brings them.
        convert: the file's content, of a model and its `serving_default`.
        runner: from the content, a function of named arrays.
    """

    file: str
    modules: tuple[str, ...]
    convert: Callable[[Any, EndpointFunction], bytes]
    runner: Callable[[bytes], Callable[[Mapping[str, Any]], dict[str, Any]]]


def require_installed(formats: Sequence[str]) -> None:
    """Raise `ConfigError` where a format is unknown, or what it needs is not installed."""
    for name in formats:
        if name not in FORMATS:
            known = ", ".join(("savedmodel", *FORMATS))
            raise ConfigError(f"--format must be of {known}, separated by commas. Received: {name!r}")
        if not all(map(find_spec, FORMATS[name].modules)):
            raise ConfigError(f"--format {name} needs more packages: {install_hint(name)}")


def write_formats(
    model: Any, function: EndpointFunction, cases: Iterable[VerificationCase], version: Path, names: Sequence[str]
) -> dict[str, float]:
    """Write the model into a version in each of these formats; returns the largest difference of each, relative.

    Args:
        function: the model's `serving_default`.
        cases: what to compare with; those of other endpoints are left out.

    Raises:
        Unproven: a format's runtime cannot run it or says something else than the model.
    """
    own = [case for case in cases if case.endpoint == function.name]
    differences = {}
    for name in names:
        form = FORMATS[name]
        try:
            with _ignore_warnings():
                content = form.convert(model, function)
                differences[name] = _largest_difference(form.runner(content), own)
        except UnprovenError as error:
            raise UnprovenError(f"The model as {name} {error}") from error
        except Exception as error:  # whatever converters and runtimes raise
            first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise UnprovenError(f"The model cannot be had as {name} ({first}); leave that format out") from error
        path = version / form.file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return differences


def _largest_difference(run: Callable[[Mapping[str, Any]], dict[str, Any]], cases: Iterable[VerificationCase]) -> float:
    worst = 0.0
    for _, inputs, expected in cases:
        assert expected is not None
        wrong, difference = compare_outputs(run(inputs), dict(expected))
        if wrong:
            raise UnprovenError(wrong)
        worst = max(worst, difference)
    if worst > TOLERANCE:
        raise UnprovenError(f"differs from the trained one by {worst:.2g}, more than {TOLERANCE}")
    return worst


def _convert_to_onnx(model: Any, function: EndpointFunction) -> bytes:
    """By tf2onnx; batch and, where the model leaves it so, steps stay open."""
    import tf2onnx

    call = tf.function(function.call)
    made, _ = tf2onnx.convert.from_function(call, input_signature=[function.specs], opset=ONNX_OPSET)
    for value in (*made.graph.input, *made.graph.output):
        for size, name in zip(value.type.tensor_type.shape.dim, ("batch", "steps"), strict=False):
            if not size.HasField("dim_value"):
                size.dim_param = name
    content: bytes = made.SerializeToString()
    return content


def _make_onnx_runner(content: bytes) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _convert_to_litert(model: Any, function: EndpointFunction) -> bytes:
    """By TensorFlow's converter, with LiteRT's own operations only, one window at a time.

    With an open batch size the loop over the steps comes out in operations that LiteRT alone does not have. So do
    variables that are read within the loop; here they are constants.
    """
    weights = [(variable, variable.numpy()) for variable in model.variables]
    specs = {name: tf.TensorSpec((1, *spec.shape[1:]), spec.dtype, name=name) for name, spec in function.specs.items()}

    def call(inputs: Tensors) -> Tensors:
        with keras.StatelessScope([(variable, tf.constant(value)) for variable, value in weights]):
            return function.call(inputs)

    module = tf.Module()
    module.call = tf.function(call, input_signature=[specs])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    content: bytes = converter.convert()
    return content


def _make_litert_runner(content: bytes) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=content).get_signature_runner()

    def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
        batch = len(next(iter(inputs.values())))
        rows = [runner(**{name: value[row : row + 1] for name, value in inputs.items()}) for row in range(batch)]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return run


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    """Without the converters' advice on what will be renamed in some later version of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


FORMATS = {
    "onnx": ModelFormat("assets.extra/model.onnx", ("tf2onnx", "onnxruntime"), _convert_to_onnx, _make_onnx_runner),
    "litert": ModelFormat("assets.extra/model.tflite", ("ai_edge_litert",), _convert_to_litert, _make_litert_runner),
}
