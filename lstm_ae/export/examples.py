"""Example windows for a served model's manifest, from data that the run was not fitted to."""

from typing import Any

import numpy as np

from lstm_ae.data.windows import Data, evenly_spaced
from lstm_ae.errors import LstmAeError
from lstm_ae.files import as_json_value
from lstm_ae.formatting import format_heading
from lstm_ae.models.inference import model_inputs
from lstm_ae.run import Run
from lstm_ae.studies import load_study

EXAMPLE_COUNT = 3

# Larger windows would make the manifest unreadable.
MAX_WINDOW_NUMBERS = 4000


def select_examples(run: Run) -> list[dict[str, Any]]:
    """Return the names, signatures, and inputs of some windows as JSON values.

    The list is empty if the run's data is unavailable or has changed, the windows are large or have missing values,
    or the model reads the open.
    """
    about = run.about()
    try:
        data = load_study(about["task"]).load(run.config())
    except (LstmAeError, OSError):
        return []
    model = run.model()
    (spec,) = (tensor for tensor in model.input.values() if len(tensor.shape) == 3)
    steps = spec.shape[1] or data.latest.span - ("future" in model.output)
    if (
        data.source.sha256 != about["data"]["sha256"]
        or steps * spec.shape[2] > MAX_WINDOW_NUMBERS
        or "open" in model.input
    ):
        return []
    index = evenly_spaced(data.latest.samples, EXAMPLE_COUNT)
    # JSON has no NaN.
    index = index[np.isfinite(data.latest.windows(index)[:, :steps]).all(axis=(1, 2))]
    if not len(index):
        return []
    window = data.latest.windows(index)[:, :steps]
    found = {name: value.numpy() for name, value in model_inputs(model, window, data.latest.companies(index)).items()}
    return [
        {
            "name": _example_name(about["task"], data, sample, steps),
            "signature": "serving_default",
            "inputs": {name: [as_json_value(values[place])] for name, values in found.items()},
        }
        for place, sample in enumerate(index)
    ]


def _example_name(study: str, data: Data, sample: int, steps: int) -> str:
    split = data.latest
    last = int(split.starts[sample]) + steps - 1
    when = f" up to {np.datetime_as_string(split.time[last], unit='auto')}" if split.time is not None else ""
    if split.company is not None:
        return f"{data.symbols[split.company[last]] or f'Test window {sample}'}{when}"
    if split.label is not None and study == "mnist":
        return f"Test digit {sample}, a {split.label[sample]}"
    if split.label is not None and data.classes:
        return f"Test window {sample}{when}, of class {format_heading(data.classes[split.label[sample]])}"
    return f"Test window {sample}{when}"
