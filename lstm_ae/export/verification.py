"""Verify an export by running every endpoint in a new process with TensorFlow alone."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_ae.errors import ConfigError, DataError, UnprovenError
from lstm_ae.export import probe
from lstm_ae.export.admission import admit_version, check_version
from lstm_ae.temporary import temporary_folder

TIMEOUT_SECONDS = 600


class VerificationCase(NamedTuple):
    """The inputs of an endpoint and its expected outputs; if `expected` is None, the outputs only have to be finite."""

    endpoint: str
    inputs: Mapping[str, Any]
    expected: Mapping[str, Any] | None


def require_allowed_operations(version: Path, name: str) -> None:
    """Raise `UnprovenError` if a version cannot be read or contains operations that are not allowed."""
    with _raise_unproven():
        check_version(version, name)


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
        path = folder / "cases.npz"
        path.write_bytes(pack_cases(cases))
        report = run_probe(checked, path, folder / "report.json")
    if report["error"]:
        raise UnprovenError(f"{name}: {report['error']}")
    return float(report["difference"])


@contextmanager
def _raise_unproven() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise UnprovenError(str(error)) from error


def run_probe(version: Path, cases: Path, report: Path) -> dict[str, Any]:
    """Run `probe` in a new process and return its report.

    The process ends with this one, even if this one is killed.

    Raises:
        ConfigError: If the packages cannot be imported there.
    """
    # A version exported on a machine with a GPU must run on one without.
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    paths = [path for path in sys.path if path]
    command = [sys.executable, "-I", probe.__file__, str(version.absolute()), str(cases), str(report), *paths]
    # Nothing is written to this pipe. It closes when this process ends, which ends the probe.
    read, held = os.pipe()
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=read,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"difference": None, "error": f"it did not answer within {TIMEOUT_SECONDS} seconds"}
    finally:
        os.close(read)
        os.close(held)
    if done.returncode or not report.is_file():
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        if unfound := [line for line in lines if line.startswith(("ImportError:", "ModuleNotFoundError:"))]:
            raise ConfigError(
                f"The model cannot be checked, as a fresh process cannot import its packages ({unfound[-1][:200]}); "
                f"install them anew for {sys.executable}"
            )
        last = lines[-1:] or ["without a word"]
        return {"difference": None, "error": f"it ended its process with code {done.returncode} ({last[0][:200]})"}
    content: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return content


def pack_cases(cases: Iterable[VerificationCase]) -> bytes:
    """Return the cases as the content of the `.npz` file that `probe` reads."""
    arrays: dict[str, Any] = {}

    def stored(values: Mapping[str, Any]) -> dict[str, str]:
        names = {}
        for name, value in values.items():
            names[name] = f"array_{len(arrays)}"
            arrays[names[name]] = np.asarray(value)
        return names

    plan = [
        {"endpoint": endpoint, "inputs": stored(inputs)} | ({} if expected is None else {"expected": stored(expected)})
        for endpoint, inputs, expected in cases
    ]
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, plan=np.frombuffer(json.dumps(plan).encode(), np.uint8), **arrays)
    return content.getvalue()
