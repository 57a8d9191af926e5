"""Export to ONNX and LiteRT, with a check of each file in its own runtime against the trained model.

Both files contain `serving_default`: the inputs and outputs of the model. They are stored in `assets.extra`, which
TensorFlow Serving ignores, so they are renamed with their version and listed in its manifest.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from lstm_ae.arrays import Array
from lstm_ae.errors import Code, ConfigError, UnprovenError, install_hint
from lstm_ae.export.endpoints import EndpointFunction
from lstm_ae.export.layout import LITERT_FILE, ONNX_FILE
from lstm_ae.export.probe import compare_outputs
from lstm_ae.export.verification import VerificationCase
from lstm_ae.models.keras_network import Tensors

# Largest difference of another format. The kernels of its runtime round differently: by 3e-7 of the largest value for
# series, and 3e-6 for small class probabilities.
RUNTIME_TOLERANCE = 1e-5

ONNX_OPSET = 17


# A function from named inputs to named outputs.
Runner = Callable[[Mapping[str, Array]], dict[str, Array]]


class ModelFormat(NamedTuple):
    """An additional export format.

    Args:
        file: The path of the file in a version.
        modules: Packages that convert and run the model, installed with the extra of the format's name.
        convert: Function that returns the file content for a model and its `serving_default`.
        runner: Function that returns, for the file content, a function of named arrays.
    """

    file: str
    modules: tuple[str, ...]
    convert: Callable[[keras.Model, EndpointFunction], bytes]
    runner: Callable[[bytes], Runner]


def require_installed(formats: Sequence[str]) -> None:
    """Raise `ConfigError` if a format is unknown or its packages are not installed."""
    for name in formats:
        if name not in FORMATS:
            known = ", ".join(("savedmodel", *FORMATS))
            raise ConfigError(f"--format must be one or more of {known}, separated by commas. Received: {name!r}")
        if not all(map(find_spec, FORMATS[name].modules)):
            raise ConfigError(f"--format {name} needs more packages: {install_hint(name)}", code=Code.MISSING_PACKAGE)


def write_formats(
    model: keras.Model,
    function: EndpointFunction,
    cases: Iterable[VerificationCase],
    version: Path,
    names: Sequence[str],
) -> dict[str, float]:
    """Write the model into a version in each of the given formats.

    Args:
        model: The trained model.
        function: The model's `serving_default`.
        cases: Inputs and expected outputs; those of other endpoints are ignored.
        version: The folder of the version.
        names: Keys of `FORMATS`.

    Returns:
        The largest difference from the trained model for each format, relative to the largest value of the output.

    Raises:
        UnprovenError: If the model cannot be converted, or a runtime fails or returns other outputs than the model.
    """
    own = [case for case in cases if case.endpoint == function.name]
    differences = {}
    for name in names:
        form = FORMATS[name]
        try:
            with warnings.catch_warnings(action="ignore"):  # of the converters, about deprecation
                content = form.convert(model, function)
                differences[name] = _largest_difference(form.runner(content), own)
        except UnprovenError as error:
            raise UnprovenError(f"The model as {name} {error}") from error
        except Exception as error:  # Converters and runtimes raise exceptions of any type.
            first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise UnprovenError(f"The model cannot be converted to {name} ({first}). Omit this format.") from error
        path = version / form.file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return differences


def _largest_difference(run: Runner, cases: Iterable[VerificationCase]) -> float:
    worst = 0.0
    for case in cases:
        difference, wrong = compare_outputs(run(case.inputs), case.expected, RUNTIME_TOLERANCE)
        if wrong:
            raise UnprovenError(wrong)
        worst = max(worst, difference)
    return worst


def _convert_to_onnx(model: keras.Model, function: EndpointFunction) -> bytes:
    """Convert with tf2onnx; the batch size, and the number of steps if the model allows it, stay variable."""
    import tf2onnx

    call = tf.function(function.call, autograph=False)
    proto, _ = tf2onnx.convert.from_function(call, input_signature=[function.specs], opset=ONNX_OPSET)
    for value in (*proto.graph.input, *proto.graph.output):
        for size, name in zip(value.type.tensor_type.shape.dim, ("batch", "steps"), strict=False):
            if not size.HasField("dim_value"):
                size.dim_param = name
    content: bytes = proto.SerializeToString()
    return content


def _make_onnx_runner(content: bytes) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _convert_to_litert(model: keras.Model, function: EndpointFunction) -> bytes:
    """Convert with TensorFlow's converter, using LiteRT's own operations only and a batch size of 1.

    With a variable batch size, or with variables that are read within the loop over the steps, the loop would need
    operations that LiteRT alone does not have. The variables are therefore replaced with constants.
    """
    weights = [(variable, variable.numpy()) for variable in model.variables]
    specs = {name: tf.TensorSpec((1, *spec.shape[1:]), spec.dtype, name=name) for name, spec in function.specs.items()}

    def call(inputs: Tensors) -> Tensors:
        with keras.StatelessScope([(variable, tf.constant(value)) for variable, value in weights]):
            return function.call(inputs)

    module = tf.Module()
    module.call = tf.function(call, input_signature=[specs], autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    content: bytes = converter.convert()
    return content


def _make_litert_runner(content: bytes) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=content).get_signature_runner()

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        batch = len(next(iter(inputs.values())))
        rows = [runner(**{name: value[row : row + 1] for name, value in inputs.items()}) for row in range(batch)]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return run


FORMATS = {
    "onnx": ModelFormat(ONNX_FILE, ("tf2onnx", "onnxruntime"), _convert_to_onnx, _make_onnx_runner),
    "litert": ModelFormat(LITERT_FILE, ("ai_edge_litert",), _convert_to_litert, _make_litert_runner),
}
