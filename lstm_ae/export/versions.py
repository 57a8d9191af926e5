"""Verify exported versions in their folders, independently of how they were written."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.errors import DataError
from lstm_ae.export.graph_check import read_graph, read_signatures
from lstm_ae.export.layout import GRAPH_FILE, list_versions
from lstm_ae.export.manifest import read_manifest, require_unchanged_files
from lstm_ae.export.samples import sample_signature
from lstm_ae.export.saved_model import expected_run_answers
from lstm_ae.export.verification import VerificationCase, require_allowed_operations, verify_export
from lstm_ae.run import Run


class VerifiedVersion(NamedTuple):
    """A version that passed the checks.

    Args:
        directory: The folder of the version.
        endpoints: The endpoints that were run.
        difference: The largest difference from the trained model, relative to the largest value; None without a
            trained model.
        unchecked: Descriptions of the properties that could not be checked.
    """

    directory: Path
    endpoints: list[str]
    difference: float | None
    unchecked: list[str]


def verify_versions(folder: Path) -> Iterator[VerifiedVersion]:
    """Verify a version, or every version in a model's folder, in ascending order.

    A version passes if its files match its manifest, it contains only allowed operations, TensorFlow alone loads it
    in a new process, and every endpoint runs there and returns finite numbers. If the folder is a run directory, the
    outputs must equal those of its `model.keras`.

    Raises:
        DataError: If there is no version, or the run's model cannot be used.
        UnprovenError: If a version fails.
    """
    for version in _list_version_folders(folder):
        yield _verify_version(version)


def _list_version_folders(folder: Path) -> list[Path]:
    if (folder / GRAPH_FILE).exists():
        return [folder]
    found = [path for _, path in list_versions(folder) if path.is_dir()]
    if not found:
        raise DataError(f"{str(folder)!r} holds no exported version; give a folder that lstmae export has written")
    return found


def _has_missing_values(case: VerificationCase) -> bool:
    return any(value.dtype.kind == "f" and np.isnan(value).any() for value in case.inputs.values())


def _verify_version(version: Path) -> VerifiedVersion:
    name, unchecked = repr(str(version)), []
    manifest = read_manifest(version)
    if not manifest:
        unchecked.append("whether its files are as they were exported, since it has no manifest")
    else:
        require_unchanged_files(version, manifest)
    require_allowed_operations(version, name)
    called = read_signatures(read_graph(version))
    run = Run(version.absolute().parent)
    cases = []
    if run.model_file.is_file():
        cases = [case for case in expected_run_answers(run) if case.endpoint in called]
        if "max_gap" not in manifest and any(map(_has_missing_values, cases)):
            cases = [case for case in cases if not _has_missing_values(case)]
            unchecked.append(
                "what it says of series with long gaps, across which windows run in older exports; export it anew"
            )
    else:
        unchecked.append("whether it says what the trained model says, since no run lies around it")
    compared = {case.endpoint for case in cases}
    beside = called.get("serving_default", {"inputs": {}})["inputs"]
    for endpoint, described in called.items():
        if endpoint in compared:
            continue
        tried = [sample_signature(described["inputs"], batch, beside) for batch in (1, 3)]
        if None in tried:
            unchecked.append(f"the endpoint {endpoint!r}, which wants text or leaves its inputs' shape open")
        else:
            cases += [VerificationCase(endpoint, inputs, None) for inputs in tried if inputs is not None]
    difference = verify_export(version, cases, name)
    return VerifiedVersion(
        version, sorted({case.endpoint for case in cases}), difference if compared else None, unchecked
    )
