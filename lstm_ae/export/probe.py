"""A check of a SavedModel with TensorFlow alone, run by its path in a process without Keras and this package.

    python -I probe.py VERSION CASES REPORT PATH...

CASES is an `.npz` file of arrays. The array `plan` contains the bytes of a JSON list of `{"endpoint", "inputs",
"expected"}`, whose dicts refer to the arrays by name. Without `expected`, the outputs only have to be finite. REPORT
becomes a JSON object: `difference` is the largest difference relative to the largest value of the output; `error` is ""
if no difference is above the tolerance;
`modules` lists the modules of Keras and this package that were imported. The PATHs become `sys.path`, because `-I`
omits folders that may contain packages. The process ends when its standard input ends, which is a pipe that only its
parent holds open.
"""

import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any, TypedDict


def follow_parent() -> None:
    """End this process when its parent ends, even if the parent was killed."""

    def follow() -> None:
        while os.read(0, 1):
            pass
        # Windows has no SIGKILL, but terminates a process on SIGTERM.
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    threading.Thread(target=follow, daemon=True).start()


if __name__ == "__main__":
    follow_parent()
    sys.path[:] = sys.argv[4:]

import numpy as np  # noqa: E402 (its path has only just become known)
from numpy.typing import NDArray  # noqa: E402

# Largest allowed difference.
TOLERANCE = 1e-6

ABSENT_MODULES = ("keras", "tf_keras", "lstm_ae", "lstm_ae_cli")


Array = NDArray[Any]


class ProbeReport(TypedDict):
    """The largest difference, None if nothing was computed, and the error, "" if there is none."""

    difference: float | None
    error: str


def check_cases(version: str, cases: str) -> ProbeReport:
    """Load a version and compare the outputs of every case.

    Args:
        version: The folder of a SavedModel.
        cases: An `.npz` file with the arrays and their plan, see the head of this module.

    Returns:
        `difference`, and `error` as a one-line text; "" if all cases passed.
    """
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(version)
    except Exception as error:  # TensorFlow raises exceptions of any type for a damaged model.
        return {"difference": None, "error": f"it does not load ({_format_error(error)})"}
    worst = 0.0
    with np.load(cases, allow_pickle=False) as arrays:
        for case in json.loads(arrays["plan"].tobytes()):
            name = case["endpoint"]
            inputs = {key: tf.constant(arrays[array]) for key, array in case["inputs"].items()}
            try:
                outputs = {key: value.numpy() for key, value in loaded.signatures[name](**inputs).items()}
            except Exception as error:
                return {"difference": worst, "error": f"endpoint {name!r} does not run ({_format_error(error)})"}
            expected = {key: arrays[array] for key, array in case.get("expected", {}).items()}
            wrong, difference = (
                compare_outputs(outputs, expected) if "expected" in case else (check_finite(outputs), 0.0)
            )
            worst = max(worst, difference)
            if not wrong and difference > TOLERANCE:
                wrong = f"differs from the trained model by {difference:.2g}, more than {TOLERANCE}"
            if wrong:
                return {"difference": worst, "error": f"endpoint {name!r} {wrong}"}
    return {"difference": worst, "error": ""}


def compare_outputs(outputs: Mapping[str, Array], expected: Mapping[str, Array]) -> tuple[str, float]:
    """Compare outputs with the expected ones.

    Args:
        outputs, expected: The arrays by name.

    Returns:
        A description of the first mismatch in names, shapes, types, or NaN; "" if there is none. Then the largest
        difference relative to the largest value of the output.
    """
    if set(outputs) != set(expected):
        return f"has the outputs {sorted(outputs)} instead of {sorted(expected)}", 0.0
    worst = 0.0
    for key, value in expected.items():
        if outputs[key].shape != value.shape or outputs[key].dtype != value.dtype:
            types = f"{outputs[key].dtype} {list(outputs[key].shape)} instead of {value.dtype} {list(value.shape)}"
            return f"returns {key!r} as {types}", worst
        if not np.array_equal(np.isfinite(value), np.isfinite(outputs[key])):
            return f"returns NaN in {key!r} where the trained model does not, or vice versa", worst
        worst = max(worst, _largest_difference(value, outputs[key]))
    return "", worst


def _largest_difference(expected: Array, output: Array) -> float:
    """Return the largest difference of finite values, relative to the largest expected value."""
    known = np.isfinite(expected)
    one, other = expected[known].astype(np.float64), output[known].astype(np.float64)
    if not one.size or np.array_equal(one, other):
        return 0.0
    return float(abs(one - other).max() / max(abs(one).max(), 1e-30))


def check_finite(outputs: Mapping[str, Array]) -> str:
    """Return a description of the first output with NaN or infinity; "" if there is none."""
    wrong = [key for key, value in outputs.items() if value.dtype.kind in "fc" and not np.isfinite(value).all()]
    return f"returns NaN or infinity in {wrong[0]!r}" if wrong else ""


def _format_error(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


if __name__ == "__main__":
    gc.disable()  # Garbage collection takes a third of TensorFlow's import time and frees almost nothing.
    for absent in ABSENT_MODULES:  # TensorFlow imports Keras if it is installed.
        sys.modules[absent] = None  # type: ignore[assignment]
    import tensorflow  # noqa: F401

    gc.freeze()
    gc.enable()
    report = check_cases(sys.argv[1], sys.argv[2])
    imported = sorted(name for name in sys.modules if name.split(".")[0] in ABSENT_MODULES and sys.modules[name])
    with open(sys.argv[3], "w", encoding="utf-8") as file:
        json.dump(report | {"modules": imported}, file)
