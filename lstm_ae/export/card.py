"""Model cards: Markdown files next to the exported versions that describe a model, its data, results, and limits."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_ae.config import Config, Mnist, Series, Snp
from lstm_ae.config.reading import CALENDAR
from lstm_ae.data.calendar import input_columns, known_columns
from lstm_ae.files import write_own
from lstm_ae.formatting import format_best_epochs, format_heading, format_measure, format_names, format_value
from lstm_ae.json_types import JsonMapping
from lstm_ae.model_store import ModelStore
from lstm_ae.run import measured_splits

if TYPE_CHECKING:
    from lstm_ae.export.saved_model import Endpoint


# A card without this line was written or edited by the user and must not be overwritten.
CARD_MARK = "<!-- written by lstmae export -->"

# Value of a measure without a value.
_UNKNOWN = "not computable"

_PURPOSES = {
    "toy": "Reconstructs sequences of 50 numbers as the toy study generates them: noise with a damped stretch.",
    "mnist": "Reconstructs and classifies handwritten digits.",
    "series": "Reconstructs windows of a table's columns; rows with a large reconstruction error are unusual.",
    "classify": "Classifies windows of a table's columns.",
    "forecast": "Forecasts the rows that follow a window of a table's columns",
    "predict": "Forecasts daily prices",
    "reconstruct": "Reconstructs windows of daily prices.",
}

# With these shares of the reconstruction in the loss, the other output of a digit model is untrained.
_SINGLE_LOSS_PURPOSES = {
    0.0: "Classifies handwritten digits. Its reconstruction is meaningless, because it is untrained.",
    1.0: "Reconstructs handwritten digits. Its class is meaningless, because it is untrained.",
}

_LIMITS = {
    "toy": "Trained on generated sequences only, to try out reconstruction and serving.",
    "mnist": "Trained on centered, light digits on a dark background, 28 by 28 pixels. It assigns a digit to any other "
    "image too, and the probabilities do not show it.",
    "series": "Trained on the rows under Data only. Scores of other columns, units, or time steps are meaningless.",
    "forecast": "Trained on the rows under Data only. Compare it with the baselines on your own rows before use; "
    "no forecast anticipates changes of the series.",
    "classify": "Trained on the rows under Data only. Unknown classes are assigned to one of the known classes, and "
    "the probabilities do not show it.",
    "snp": "Trained on the companies and years under Data only. Compare it with persistence on your own days before "
    "use. It is not investment advice.",
    "price reconstruction": "Trained on the companies and years under Data only.",
}

_READ_ORDERS = {
    "rows": "the 28 rows of an image from top to bottom, 28 pixels each",
    "columns": "the 28 columns of an image from left to right, 28 pixels each",
    "pixels": "the 784 pixels of an image, row by row",
    "permuted": "the 784 pixels of an image in the `order` of the manifest in `assets.extra`, which "
    "counts them from 0, row by row",
}

_OUTPUT_DESCRIPTIONS = {
    "code": "the output of the encoder",
    "score": "the reconstruction error of a step: the mean squared error of its scaled values",
    "label": "the probability of each class",
    "class": "the number of the most probable class",
}


def render_card(
    name: str,
    version: str,
    run: ModelStore,
    endpoints: "Sequence[Endpoint]",
) -> str:
    """Return the model card of a run as Markdown.

    Args:
        name: The name of the model, used as the title.
        version: The folder name of the exported version.
        run: A finished run.
        endpoints: The endpoints of the exported version, with `name`, `inputs`, and `outputs`.
    """
    about, metrics, config = run.about(), run.metrics(), run.config()
    data, training, task = about["data"], metrics["training"], about["task"]
    made = {
        "command": f"`{about['command']}`",
        "created": f"{str(about['created'])[:10]}, on {about['machine']}",
        "versions": ", ".join(f"{package} {number}" for package, number in about["versions"].items()),
        "seed": ", ".join(str(member.seed) for member in config.for_members()),
        "training": _describe_training(training),
        "parameters": f"{int(training['parameters']):,}",
    }
    parts = [
        f"# {name}",
        CARD_MARK,
        _describe_purpose(task, config),
        "## Made by",
        "\n".join(f"- {key}: {text}" for key, text in made.items()),
        "## Data",
        "\n".join(f"- {line}" for line in (data["text"], f"licence: {data['licence']}", f"sha256 {data['sha256']}")),
    ]
    if data["notes"]:
        parts.append("\n".join(f"- {note}" for note in data["notes"]))
    if data["leaky"]:
        parts.append(f"**Leaky: {data['leaky']}.** The results below are optimistic.")
    rows = _result_rows(metrics)
    parts += ["## Results", _describe_weights(metrics, _model_kind(task, config))]
    parts += [_format_table(("split", "metric", "value", "baseline"), rows)] if rows else []
    verdicts = metrics.get("verdict", {}).items()
    parts += [f"Verdict on {split}: {verdict['text']}" for split, verdict in verdicts]
    parts += [f"{note}." for note in metrics.get("notes", ())]
    parts += [
        "## Inputs and outputs",
        _format_table(
            ("endpoint", "inputs", "outputs"),
            [(f"`{e.name}`", ", ".join(e.inputs), ", ".join(e.outputs)) for e in endpoints],
        ),
        *_describe_inputs(config),
        *_describe_outputs(endpoints, metrics),
        *_describe_classes(config),
        "Values are in the units of the data. The model runs with TensorFlow alone:",
        f'```python\nimport tensorflow as tf\n\nloaded = tf.saved_model.load("{name}/{version}")\n'
        'print(loaded.signatures["serving_default"].structured_input_signature)\n```',
        "## Limits",
        _LIMITS[_model_kind(task, config)],
    ]
    return "\n\n".join(parts) + "\n"


def write_card(folder: Path, text: str) -> Path | None:
    """Write `README.md` next to the versions, unless there is one that was not written by `lstmae export`.

    Returns:
        The path of the file; None if it was not written.
    """
    try:
        return write_own(folder / "README.md", CARD_MARK, text)
    except FileExistsError:
        return None


def _describe_purpose(task: str, config: Config) -> str:
    if isinstance(config, Snp) and config.goal == "predict":
        which = "the day after a window" if config.last_day_only else "the day after every day of a window"
        known = ", whose open is known" if config.with_open else "; and any number of days ahead"
        return f"{_PURPOSES['predict']}: {which}{known}."
    if isinstance(config, Snp):
        return _PURPOSES["reconstruct"]
    if isinstance(config, Mnist):
        order = {"rows": "row by row", "columns": "column by column", "pixels": "pixel by pixel"}
        how = order.get(config.read, "pixel by pixel in a permuted order")
        purpose = _SINGLE_LOSS_PURPOSES.get(config.reconstruction_weight, _PURPOSES[task])
        return f"{purpose} The image is read {how}."
    if isinstance(config, Series) and config.task == "forecast":
        return f"{_PURPOSES['forecast']}: {config.horizon} after {config.window}; and any number of rows ahead."
    return _PURPOSES[_model_kind(task, config)]


def _model_kind(task: str, config: Config) -> str:
    """Return the key of the model's texts: the name of its study, or of its task if the study has several."""
    if isinstance(config, Snp) and config.goal == "reconstruct":
        return "price reconstruction"
    return config.task if isinstance(config, Series) and config.task in ("classify", "forecast") else task


def _describe_classes(config: Config) -> list[str]:
    """Return a line that maps class indices to names; an empty list if the model has no classes."""
    if not isinstance(config, Series) or not config.classes:
        return []
    named = ", ".join(f"{place} {format_heading(name)}" for place, name in enumerate(config.classes))
    return [f"Classes: {named}."]


def _describe_training(training: JsonMapping) -> str:
    if training.get("refit"):
        return f"{training['seconds']:,.0f} s, {training['refit']}"
    text = f"{training['seconds']:,.0f} s, {training['epochs']} epochs, weights of "
    return text + format_best_epochs(training) + (f" ({training['stopped']})" if training["stopped"] else "")


def _describe_weights(metrics: JsonMapping, kind: str) -> str:
    """Return a text about the data that the weights, intervals, and threshold were selected on."""
    if not metrics["training"].get("refit"):
        return "The weights were selected on the validation split; nothing was selected on the test split."
    text = (
        "The weights are those of the last epoch and have seen the validation split; nothing was selected on the test "
        "split"
    )
    what = "threshold comes" if metrics.get("threshold") else "intervals come" if kind in ("forecast", "snp") else ""
    return f"{text}." + (f" The {what} from a model that did not see the validation data." if what else "")


def _result_rows(metrics: JsonMapping) -> list[tuple[str, str, str, str]]:
    rows = []
    form = functools.partial(format_value, missing=_UNKNOWN)
    for split, row in measured_splits(metrics).items():
        for measure, metric in row.items():
            unit = f" {metric['unit']}" if metric["unit"] not in ("", "scaled") else ""
            baselines = ", ".join(
                f"{name}: {format_measure(measure, value, form)}{unit}" for name, value in metric["baselines"].items()
            )
            scaled = " (scaled)" if metric["unit"] == "scaled" else ""
            rows.append(
                (
                    split,
                    measure.replace("_", " ") + scaled,
                    f"{format_measure(measure, metric['value'], form)}{unit}",
                    baselines,
                )
            )
    return rows


def _describe_inputs(config: Config) -> list[str]:
    """Return a description of the inputs in their order, and of a forecaster's outputs."""
    lines = []
    if isinstance(config, Mnist):
        lines.append(f"- `sequence`: {_READ_ORDERS[config.read]}; each from 0 (background) to 255 (brightest ink).")
    if isinstance(config, Series):
        given, columns = (
            "past" if config.forecasts else "sequence",
            ", ".join(map(format_heading, input_columns(config))),
        )
        lines.append(f"- `{given}`: consecutive rows of one series, oldest first; the columns: {columns}.")
        if known := known_columns(config):
            names = ", ".join(map(format_heading, known))
            lines.append(f"- `known`: the rows to forecast, with what is known of them in advance: {names}.")
        if sines := [name for name in config.calendar if name in CALENDAR]:
            lines.append(
                f"- Sine and cosine of {format_names(sines)}: of 2 pi times the share of the day, week, or year that "
                "has passed at the local time, in whole days of the week and whole months of the year."
            )
        if config.covariates or config.calendar:
            lines.append(f"- `future`: the columns {', '.join(map(format_heading, config.value_cols))}.")
        if config.scale == "series":
            lines.append(
                "- `series`: the index of the series in the `symbols` of the manifest in `assets.extra`; 0 for an "
                "unknown series, which is scaled like all series together."
            )
    if isinstance(config, Snp):
        given = "past" if config.goal == "predict" else "sequence"
        order = ", ".join(f"{field} (shares)" if field == "volume" else f"{field} (USD)" for field in config.fields)
        lines.append(f"- `{given}`: consecutive days of one company, oldest first; the columns: {order}.")
        if config.scaling in ("company", "report"):
            lines.append(
                "- `company`: the index of the company in the `symbols` of the manifest in `assets.extra`; 0 for an "
                "unknown company, which is scaled by the range of its window."
            )
    if isinstance(config, Snp) and config.goal == "predict":
        if config.with_open:
            lines.append("- `open`: the open of the day to forecast.")
        columns = config.fields[0] if config.with_open else "the same columns in the same order"
        lines.append(f"- `future`: {columns}.")
    return ["\n".join(lines)] if lines else []


def _describe_outputs(endpoints: "Sequence[Endpoint]", metrics: JsonMapping) -> list[str]:
    """Return a description of the outputs that are not in the data's units."""
    known = {name for endpoint in endpoints for name in endpoint.outputs}
    texts = dict(_OUTPUT_DESCRIPTIONS)
    if threshold := metrics.get("threshold"):
        around = f", and over the {threshold['smooth']} rows around it" if threshold["smooth"] > 1 else ""
        texts["score"] = (
            "the anomaly score of each row of a series, which is at least as long as a window unless the run pads "
            "short series: the mean, over all windows that contain the row, of the squared Mahalanobis distance of the "
            f"window's residuals, divided by the median of normal rows{around}"
        )
        texts["threshold"] = f"{threshold['value']:.6g}, from the rule {threshold['rule']}"
        texts["anomaly"] = "whether a row's score is above the threshold"
    lines = [f"- `{name}`: {text}." for name, text in texts.items() if name in known]
    return ["\n".join(lines)] if lines else []


def _format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
