"""A model as a SavedModel: named inputs and outputs, own units, standard TensorFlow operations only.

The version is written beside its place and proven there: only allowed operations, and in a fresh process, by TensorFlow
alone, the same answers as the model that was trained. Only then is it renamed to the next number. A server that watches
the folder never sees half a version, and a kill at any moment leaves the old ones as they are.

    <next number>/saved_model.pb, variables/, fingerprint.pb
    <next number>/assets.extra/manifest.json, tf_serving_warmup_requests, and where asked for model.onnx, model.tflite
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from keras import layers
from keras.export import ExportArchive

from lstm_ae.config import Mnist, Series, Snp
from lstm_ae.data.digits import pixel_permutation
from lstm_ae.errors import DataError, UnprovenError
from lstm_ae.export import verification
from lstm_ae.export.endpoints import EndpointFunction, make_endpoints
from lstm_ae.export.formats import require_installed, write_formats
from lstm_ae.export.graph_check import read_graph, read_signatures
from lstm_ae.export.manifest import write_manifest
from lstm_ae.export.samples import DEFAULT_STEPS, sample_endpoints, sample_windows
from lstm_ae.export.score_endpoint import ScoreParameters
from lstm_ae.export.warmup import BATCH_SIZES, write_warmup
from lstm_ae.files import sync
from lstm_ae.run import Run, installed_versions, measured_parts
from lstm_ae.temporary import temporary_folder

MAX_MESSAGE_BYTES = 4 * 2**20  # bytes: gRPC's usual limit, so that no larger request comes

MAX_VERSION = 2**63 - 1  # servers count versions in 64 bits


class Endpoint(NamedTuple):
    """One callable of a SavedModel, with the names of its inputs and outputs."""

    name: str
    inputs: list[str]
    outputs: list[str]


class ExportResult(NamedTuple):
    """What was written, and the largest difference between it and the trained model.

    Args:
        difference: in parts of the largest value of an output; 0 means equal to the last bit.
        formats: the same of each further format, by its name.
    """

    directory: Path
    endpoints: list[Endpoint]
    difference: float
    formats: dict[str, float]


def export_model(
    model: Any,
    base: Path,
    *,
    about: Mapping[str, Any] | None = None,
    window: int = DEFAULT_STEPS,
    formats: Sequence[str] = (),
    detector: ScoreParameters | None = None,
) -> ExportResult:
    """Write the model to `base/<next integer>/`, with an endpoint for each thing it can do.

    Args:
        model: in own units, as built or loaded.
        about: what the manifest says besides what is known here; JSON.
        window: steps of the windows it is tried with, where the model leaves their number open.
        formats: of "onnx" and "litert", what to write besides.
        detector: of a model that finds anomalies: its `score` then says of every row whether it is one.

    Raises:
        ConfigError: a format needs a package that is not installed.
        DataError: the model answers with NaN.
        Unproven: the SavedModel, or another format, does not say what the model says.
    """
    require_installed(formats)
    base.mkdir(parents=True, exist_ok=True)
    try:
        with temporary_folder("export", base) as beside:
            with _without_cudnn(model):
                made = make_endpoints(model, detector)
                cases = list(expected_answers(model, made, window))
                write_saved_model(model, made, beside)
                difference = verification.verify_export(beside, cases, "The exported model")
                others = write_formats(model, made[0], cases, beside, formats)
            name, called = base.resolve().name, read_signatures(read_graph(beside))
            write_warmup(
                beside, name, (case for batch in BATCH_SIZES for case in _make_requests(model, made, batch, window))
            )
            head: dict[str, Any] = {
                "name": name,
                "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                "versions": installed_versions(),
                "signatures": called,
                "difference": {"savedmodel": difference, **others},
            }
            if detector is not None and detector.max_gap is not None:
                head["max_gap"] = detector.max_gap
            write_manifest(beside, head | dict(about or {}))
            directory = _publish_version(beside, base)
    except UnprovenError as error:
        raise UnprovenError(f"{error}; nothing was published") from error
    found = [Endpoint(name, *(sorted(called[name][key]) for key in ("inputs", "outputs"))) for name, *_ in made]
    return ExportResult(directory, found, difference, others)


def export_run(
    run: Run, base: Path, formats: Sequence[str] = (), examples: Sequence[Mapping[str, Any]] = ()
) -> ExportResult:
    """Export a run's model as `export_model` does, with a manifest of the run and `examples` to try it with."""
    about, config = run.about(), run.config()
    data = about["data"]
    known = {
        "task": about["task"],
        "trained": {key: about[key] for key in ("created", "command", "versions")} | {"seed": config.seed},
        "metrics": measured_parts(run.metrics()),
        "data": {key: data[key] for key in ("text", "sha256", "licence", "notes", "leaky")},
    }
    # Line by line what the input `company`, or `series`, counts; and how a picture became a sequence.
    known |= {"symbols": data["symbols"]} if data.get("symbols") else {}
    if isinstance(config, Mnist):
        known["read"] = config.read
        known |= {"order": pixel_permutation().tolist()} if config.read == "permuted" else {}
    if isinstance(config, Snp | Series):
        known["features"] = list(config.fields if isinstance(config, Snp) else config.value_cols)
    if isinstance(config, Series) and config.classes:
        known["classes"] = list(config.classes)
    known |= {"examples": list(examples)} if examples else {}
    return export_model(
        run.model(), base, about=known, window=_window_steps(run), formats=formats, detector=_score_parameters(run)
    )


def expected_run_answers(run: Run) -> list[verification.VerificationCase]:
    """What a run's own model says to samples of every endpoint."""
    model = run.model()
    with _without_cudnn(model):
        return list(expected_answers(model, make_endpoints(model, _score_parameters(run)), _window_steps(run)))


def _score_parameters(run: Run) -> ScoreParameters | None:
    threshold = run.metrics().get("threshold")
    if not threshold:
        return None
    weights, config = run.normal()[0].weights, run.config()
    assert isinstance(config, Series)
    return ScoreParameters(
        threshold["value"],
        threshold["smooth"],
        () if weights is None else tuple(weights[0].tolist()),
        config.max_gap,
        config.short == "pad",
    )


def _window_steps(run: Run) -> int:
    config = run.config()
    return config.window if isinstance(config, Snp) else DEFAULT_STEPS


def write_saved_model(model: Any, made: Sequence[EndpointFunction], directory: Path) -> None:
    """Write the SavedModel alone, unproven."""
    archive = ExportArchive()
    for name, call, specs in made:
        archive.add_endpoint(name, call, input_signature=[specs])
    archive.write_out(str(directory), verbose=False)


def expected_answers(
    model: Any, made: list[EndpointFunction], window: int = DEFAULT_STEPS
) -> Iterator[verification.VerificationCase]:
    """What the model in memory says to samples of every endpoint, on the CPU.

    In graphs of its own, as the measures of a run are taken: step by step 784 steps would take minutes.

    Raises `DataError` where it says NaN.
    """
    with tf.device("CPU:0"):
        calls = {each.name: tf.function(each.call, input_signature=[each.specs]) for each in made}
        for endpoint, inputs in sample_endpoints(model, made, window=window):
            outputs = calls[endpoint.name]({key: tf.constant(value) for key, value in inputs.items()})
            answers = {key: value.numpy() for key, value in outputs.items()}
            if endpoint.name == "serving_default" and not all(np.isfinite(value).all() for value in answers.values()):
                raise DataError("The model answers with NaN or infinity, so its weights are damaged; train a new run")
            yield verification.VerificationCase(endpoint.name, inputs, answers)


def _make_requests(
    model: Any, made: list[EndpointFunction], batch: int, window: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """One request of so many windows for each endpoint."""
    (steps,) = (tensor.shape[1] for tensor in model.input.values() if len(tensor.shape) == 3)
    inputs = sample_windows(model, batch, steps or window)
    if sum(value.nbytes for value in inputs.values()) > MAX_MESSAGE_BYTES:
        return
    horizon = {"horizon": np.full(batch, 5, np.int32)}
    for endpoint in made:
        yield endpoint.name, inputs | (horizon if "horizon" in endpoint.specs else {})


def _publish_version(beside: Path, base: Path) -> Path:
    """Rename a finished version to the next number that is free."""
    for path in beside.rglob("*"):
        if path.is_file():
            sync(path)
    beside.chmod(0o755)
    while True:
        version = 1 + max(list_versions(base), default=0)
        if version > MAX_VERSION:
            raise DataError(
                f"{str(base)!r} holds version {MAX_VERSION}, the last number there is; export to another folder"
            )
        try:
            return beside.rename(base / str(version))
        except OSError:
            if not (base / str(version)).exists():  # else another export was faster
                raise


def list_versions(base: Path) -> list[int]:
    """The numbers of the folders that a server takes for versions, complete or not."""
    names = [path.name for path in base.iterdir() if path.name.isascii() and path.name.isdecimal()]
    return [number for name in names if len(name) < 30 and (number := int(name)) <= MAX_VERSION]


@contextmanager
def _without_cudnn(model: Any) -> Iterator[None]:
    """Trace the portable kernels: a graph with cuDNN's operation in it does not load on a machine without a GPU."""
    recurrent = [layer for layer in model._flatten_layers() if isinstance(layer, layers.LSTM | layers.GRU)]
    before = [layer.use_cudnn for layer in recurrent]
    for layer in recurrent:
        layer.use_cudnn = False
    try:
        yield
    finally:
        for layer, value in zip(recurrent, before, strict=True):
            layer.use_cudnn = value
