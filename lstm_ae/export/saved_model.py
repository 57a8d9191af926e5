"""Export a model as a SavedModel with named inputs and outputs in the data's units and standard operations only.

The version is written to a temporary folder and verified there: it contains only allowed operations and, in a new
process with TensorFlow alone, returns the same outputs as the trained model. It is then renamed to the next version
number. A server that watches the folder never sees an incomplete version, and a kill at any moment leaves the
existing versions unchanged.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import keras
from keras.export import ExportArchive

from lstm_ae.config import Mnist, Series, Snp
from lstm_ae.config.reading import TIME_OPTIONS
from lstm_ae.data.calendar import input_columns, known_columns
from lstm_ae.data.digits import pixel_permutation
from lstm_ae.errors import Code, DataError, UnprovenError
from lstm_ae.export import verification
from lstm_ae.export.endpoints import EndpointFunction, make_endpoints, without_cudnn
from lstm_ae.export.formats import require_installed, write_formats
from lstm_ae.export.layout import MAX_VERSION, list_versions
from lstm_ae.export.manifest import write_manifest
from lstm_ae.export.samples import DEFAULT_STEPS, window_steps
from lstm_ae.export.score_endpoint import ScoreParameters, score_parameters
from lstm_ae.export.warmup import write_warmup
from lstm_ae.files import sync, temporary_folder
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.model_store import ModelStore
from lstm_ae.run import installed_versions, measured_splits


class Endpoint(NamedTuple):
    """A signature of a SavedModel with the names of its inputs and outputs."""

    name: str
    inputs: list[str]
    outputs: list[str]


class ExportResult(NamedTuple):
    """An exported version and its largest difference from the trained model.

    Args:
        directory: The folder of the version.
        endpoints: The endpoints of the version.
        difference: Relative to the largest value of an output; 0 means that all outputs are equal.
        formats: The difference of each additional format, by name.
    """

    directory: Path
    endpoints: list[Endpoint]
    difference: float
    formats: dict[str, float]


def export_model(
    model: keras.Model,
    base: Path,
    *,
    about: JsonMapping | None = None,
    window: int = DEFAULT_STEPS,
    formats: Sequence[str] = (),
    detector: ScoreParameters | None = None,
) -> ExportResult:
    """Export a model to `base/<next version>/`, with an endpoint for each of its operations.

    Args:
        model: A model with inputs and outputs in the data's units.
        base: The folder of the model's versions.
        about: Additional metadata for the manifest, as JSON values.
        window: Steps of the sample windows if the model leaves their number variable.
        formats: Additional formats: "onnx", "litert".
        detector: Parameters of an anomaly detection model, whose `score` endpoint then returns a score and an
            anomaly flag for every row.

    Raises:
        ConfigError: If a format needs a package that is not installed.
        DataError: If the model returns NaN or infinity.
        UnprovenError: If the SavedModel or another format returns other outputs than the model.
    """
    require_installed(formats)
    with without_cudnn(model):
        endpoints = make_endpoints(model, detector)
        cases = list(verification.expected_answers(model, endpoints, window))
        base.mkdir(parents=True, exist_ok=True)
        try:
            with temporary_folder("export", base) as draft:
                write_saved_model(endpoints, draft)
                difference = verification.verify_export(draft, cases, "The exported model")
                others = write_formats(model, endpoints[0], cases, draft, formats)
                name = base.resolve().name
                write_warmup(draft, name, [(case.endpoint, case.inputs) for case in cases])
                head: JsonObject = {
                    "name": name,
                    "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                    "versions": installed_versions(),
                    "difference": {"savedmodel": difference, **others},
                }
                write_manifest(draft, head | dict(about or {}))
                directory = _publish_version(draft, base)
        except UnprovenError as error:
            raise UnprovenError(f"{str(error).rstrip('.')}. Nothing was published.") from error
    tensors = {case.endpoint: (sorted(case.inputs), sorted(case.expected)) for case in cases}
    return ExportResult(directory, [Endpoint(name, *tensors[name]) for name, *_ in endpoints], difference, others)


def export_run(run: ModelStore, base: Path, formats: Sequence[str] = ()) -> ExportResult:
    """Export the model of a run with `export_model`, with metadata of the run in the manifest.

    Args:
        run: A finished run, or a fitted model.
        base: The folder of the model's versions.
        formats: Additional formats: "onnx", "litert".

    Raises:
        ConfigError, DataError, UnprovenError: See `export_model`.
    """
    record = describe_model(run) | {"metrics": measured_splits(run.metrics())}
    # Clients need the symbols to set the input `company` or `series`.
    record |= {"symbols": list(run.symbols)} if run.symbols else {}
    return export_model(
        run.model(), base, about=record, window=window_steps(run), formats=formats, detector=score_parameters(run)
    )


def describe_model(run: ModelStore) -> JsonObject:
    """Return the metadata of the manifest on the training, the data, and the inputs of a model."""
    about, config = run.about(), run.config()
    data = about["data"]
    record: JsonObject = {
        "task": about["task"],
        "trained": {key: about[key] for key in ("created", "command", "versions")} | {"seed": config.seed},
        "data": {key: data[key] for key in ("text", "sha256", "license", "notes", "leaky")},
    }
    if isinstance(config, Mnist):
        # Clients need the read order to turn an image into a sequence.
        record["read"] = config.read
        record |= {"order": pixel_permutation().tolist()} if config.read == "permuted" else {}
    if isinstance(config, Snp):
        record["features"] = list(config.fields)
    if isinstance(config, Series):
        lists = {
            "features": input_columns(config),
            "known": known_columns(config),
            "id_columns": config.id_col,
            "classes": config.classes,
        }
        record |= {"freq": config.freq} | {key: list(names) for key, names in lists.items() if names}
        # Times that are read with other options may differ, so that rows seem to be missing.
        record["times"] = {name: value for name in TIME_OPTIONS if (value := getattr(config, name)) is not None}
    return record


def write_saved_model(endpoints: Sequence[EndpointFunction], directory: Path) -> None:
    """Write the SavedModel only, without verification."""
    archive = ExportArchive()
    for name, call, specs in endpoints:
        archive.add_endpoint(name, call, input_signature=[specs])
    archive.write_out(str(directory), verbose=False)


def _publish_version(draft: Path, base: Path) -> Path:
    """Rename a finished version to the next free number."""
    for path in draft.rglob("*"):
        if path.is_file():
            sync(path)
    draft.chmod(0o755)
    while True:
        version = 1 + max((number for number, _ in list_versions(base)), default=0)
        if version > MAX_VERSION:
            raise DataError(
                f"{str(base)!r} contains version {MAX_VERSION}, the largest possible one. Export to another folder.",
                code=Code.OUTPUT_EXISTS,
            )
        try:
            return draft.rename(base / str(version))
        except OSError:
            if not (base / str(version)).exists():  # Otherwise another export took the number.
                raise
