"""A check of a SavedModel with TensorFlow alone, run by its path in a process without Keras and this package.

    python -I probe.py VERSION CASES REPORT PATH...

CASES is a pickled list of the name of an endpoint, its inputs by name, and the expected outputs by name. REPORT becomes
a JSON object: `difference` is the largest difference relative to the largest value of the output; `error` is "" if no
difference is above the tolerance. The PATHs become `sys.path`, because `-I` omits folders that may contain packages.
"""

import gc
import json
import pickle
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path[:] = sys.argv[4:]

import numpy as np
from numpy.typing import NDArray

# Largest difference of a SavedModel, which runs the operations of the trained model.
SAVED_MODEL_TOLERANCE = 1e-6

ABSENT_MODULES = ("keras", "tf_keras", "lstm_ae", "lstm_ae_cli")


Array = NDArray[Any]


class ProbeResult(NamedTuple):
    """The largest difference, relative to the largest value of the output, and the first error, "" if there is none."""

    difference: float
    error: str


def check_cases(version: str, cases: str) -> ProbeResult:
    """Load a version and compare the outputs of every case.

    Args:
        version: The folder of a SavedModel.
        cases: A file of cases, see the head of this module.
    """
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(version)
    except Exception as error:  # TensorFlow raises exceptions of any type for a damaged model.
        return ProbeResult(0.0, f"it does not load ({_format_error(error)})")
    worst = 0.0
    with open(cases, "rb") as file:
        plan = pickle.load(file)
    for name, arrays, expected in plan:
        inputs = {key: tf.constant(value) for key, value in arrays.items()}
        try:
            outputs = {key: value.numpy() for key, value in loaded.signatures[name](**inputs).items()}
        except Exception as error:
            return ProbeResult(worst, f"endpoint {name!r} does not run ({_format_error(error)})")
        difference, wrong = compare_outputs(outputs, expected, SAVED_MODEL_TOLERANCE)
        worst = max(worst, difference)
        if wrong:
            return ProbeResult(worst, f"endpoint {name!r} {wrong}")
    return ProbeResult(worst, "")


def compare_outputs(outputs: Mapping[str, Array], expected: Mapping[str, Array], tolerance: float) -> ProbeResult:
    """Compare outputs with the expected ones.

    Args:
        outputs: The outputs by name.
        expected: The expected outputs by name.
        tolerance: The largest difference that is no error, relative to the largest value of the output.
    """
    if set(outputs) != set(expected):
        return ProbeResult(0.0, f"has the outputs {sorted(outputs)} instead of {sorted(expected)}")
    worst = 0.0
    for key, value in expected.items():
        if outputs[key].shape != value.shape or outputs[key].dtype != value.dtype:
            types = f"{outputs[key].dtype} {list(outputs[key].shape)} instead of {value.dtype} {list(value.shape)}"
            return ProbeResult(worst, f"returns {key!r} as {types}")
        if not np.array_equal(np.isfinite(value), np.isfinite(outputs[key])):
            return ProbeResult(worst, f"returns NaN in {key!r} where the trained model does not, or vice versa")
        worst = max(worst, _largest_difference(value, outputs[key]))
    if worst > tolerance:
        return ProbeResult(worst, f"differs from the trained model by {worst:.2g}, more than {tolerance}")
    return ProbeResult(worst, "")


def _largest_difference(expected: Array, output: Array) -> float:
    """Return the largest difference of finite values, relative to the largest expected value."""
    known = np.isfinite(expected)
    one, other = expected[known].astype(np.float64), output[known].astype(np.float64)
    if not one.size or np.array_equal(one, other):
        return 0.0
    return float(abs(one - other).max() / max(abs(one).max(), 1e-30))


def _format_error(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


if __name__ == "__main__":
    gc.disable()  # Garbage collection takes a third of TensorFlow's import time and frees almost nothing.
    for absent in ABSENT_MODULES:  # TensorFlow imports Keras if it is installed.
        sys.modules[absent] = None  # type: ignore[assignment]
    import tensorflow  # noqa: F401

    gc.freeze()
    gc.enable()
    result = check_cases(sys.argv[1], sys.argv[2])
    with open(sys.argv[3], "w", encoding="utf-8") as file:
        json.dump(result._asdict(), file)
