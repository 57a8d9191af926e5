"""Verify exported versions: their files, their operations, and their outputs in a new process with TensorFlow alone."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from lstm_ae.arrays import Array
from lstm_ae.errors import Code, DataError, UnprovenError
from lstm_ae.export import probe
from lstm_ae.export.admission import admit_version
from lstm_ae.export.endpoints import EndpointFunction, make_endpoints, without_cudnn
from lstm_ae.export.graph_check import read_graph
from lstm_ae.export.layout import GRAPH_FILE, list_versions
from lstm_ae.export.manifest import read_manifest, require_unchanged_files
from lstm_ae.export.samples import DEFAULT_STEPS, sample_endpoints, window_steps
from lstm_ae.export.score_endpoint import score_parameters
from lstm_ae.files import temporary_folder
from lstm_ae.model_store import ModelStore
from lstm_ae.run import Run

TIMEOUT_SECONDS = 600


class VerificationCase(NamedTuple):
    """The inputs of an endpoint and its expected outputs.

    Args:
        endpoint: The name of the endpoint.
        inputs: The inputs by name.
        expected: The outputs by name.
    """

    endpoint: str
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]


class VerifiedVersion(NamedTuple):
    """A version that passed the checks.

    Args:
        directory: The folder of the version.
        endpoints: The endpoints that were compared with the trained model.
        difference: The largest difference from the trained model, relative to the largest value; None without a
            trained model.
    """

    directory: Path
    endpoints: list[str]
    difference: float | None


def verify_versions(folder: Path) -> Iterator[VerifiedVersion]:
    """Verify a version, or every version in a model's folder, in ascending order.

    A version passes if its files match its manifest, it contains only allowed operations, and TensorFlow alone loads it
    in a new process. If the folder is a run directory, every endpoint must also return the outputs of its `model.keras`
    there.

    Args:
        folder: The folder.

    Raises:
        DataError: If there is no version, or the run's model cannot be used.
        UnprovenError: If a version fails.
    """
    for version in _list_version_folders(folder):
        yield _verify_version(version)


def _list_version_folders(folder: Path) -> list[Path]:
    if (folder / GRAPH_FILE).exists():
        return [folder]
    versions = [path for _, path in list_versions(folder) if path.is_dir()] if folder.is_dir() else []
    if not versions:
        raise DataError(
            f"{str(folder)!r} contains no exported version. Pass a folder that lstmae export has written.",
            code=Code.MODEL_NOT_FOUND,
        )
    return versions


def _verify_version(version: Path) -> VerifiedVersion:
    manifest = read_manifest(version)
    if not manifest:
        raise UnprovenError(f"{str(version)!r} has no manifest. Export it again with lstmae export.")
    require_unchanged_files(version, manifest)
    with _raise_unproven():
        signatures = read_graph(version).signature_def
    cases, run = [], Run(version.absolute().parent)
    if run.model_file.is_file():
        cases = [case for case in expected_run_answers(run) if case.endpoint in signatures]
    difference = verify_export(version, cases, repr(str(version)))
    endpoints = sorted({case.endpoint for case in cases})
    return VerifiedVersion(version, endpoints, difference if cases else None)


def expected_answers(
    model: keras.Model, endpoints: list[EndpointFunction], window: int = DEFAULT_STEPS
) -> Iterator[VerificationCase]:
    """Yield the outputs of the model in memory for samples of every endpoint, computed on the CPU.

    The model runs in graph mode, because eager execution of 784 steps would take minutes.

    Args:
        model: A model with inputs and outputs in the data's units.
        endpoints: The endpoints of the model.
        window: Steps of the windows if the model leaves their number variable.

    Raises:
        DataError: If `serving_default` returns NaN or infinity.
    """
    with tf.device("CPU:0"):
        calls = {each.name: tf.function(each.call, input_signature=[each.specs], autograph=False) for each in endpoints}
        for endpoint, inputs in sample_endpoints(model, endpoints, window=window):
            outputs = calls[endpoint.name]({key: tf.constant(value) for key, value in inputs.items()})
            answers = {key: value.numpy() for key, value in outputs.items()}
            if endpoint.name == "serving_default" and not all(np.isfinite(value).all() for value in answers.values()):
                raise DataError(
                    "The model returns NaN or infinity: its weights are damaged. Train a new run.",
                    code=Code.MODEL_UNUSABLE,
                )
            yield VerificationCase(endpoint.name, inputs, answers)


def expected_run_answers(run: ModelStore) -> list[VerificationCase]:
    """Return the outputs of a run's model for samples of every endpoint."""
    model = run.model()
    with without_cudnn(model):
        return list(expected_answers(model, make_endpoints(model, score_parameters(run)), window_steps(run)))


def verify_export(version: Path, cases: Iterable[VerificationCase], name: str) -> float:
    """Run an exported version on inputs and compare its outputs with the expected ones.

    Args:
        version: The folder of a SavedModel.
        cases: The inputs and expected outputs.
        name: The name of the version in errors.

    Returns:
        The largest difference relative to the largest value of its output; 0 means that all outputs are equal.

    Raises:
        UnprovenError: If the version contains forbidden operations, does not load or run, or returns other outputs.
    """
    with _raise_unproven(), admit_version(version, name=name) as checked, temporary_folder("lstmae") as folder:
        path = folder / "cases"
        path.write_bytes(pickle.dumps([tuple(case) for case in cases]))
        difference, error = run_probe(checked, path, folder / "report.json")
    if error:
        raise UnprovenError(f"{name}: {error}")
    return difference


@contextmanager
def _raise_unproven() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise UnprovenError(str(error)) from error


def run_probe(version: Path, cases: Path, report: Path) -> probe.ProbeResult:
    """Run `probe` in a new process and return its result.

    Args:
        version: The folder of a SavedModel.
        cases: A file of cases as `probe` reads it.
        report: The path of the file to write the report to.
    """
    # A version exported on a machine with a GPU must run on one without.
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    paths = [path for path in sys.path if path]
    command = [sys.executable, "-I", probe.__file__, str(version.absolute()), str(cases), str(report), *paths]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return probe.ProbeResult(0.0, f"it did not finish within {TIMEOUT_SECONDS} seconds")
    if done.returncode or not report.is_file():
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        return probe.ProbeResult(0.0, f"its process ended with code {done.returncode} ({last[0][:200]})")
    return probe.ProbeResult(**json.loads(report.read_text(encoding="utf-8")))
