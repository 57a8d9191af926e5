"""Exported versions, checked again where they lie: nobody has to remember how they were made."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_ae.errors import DataError
from lstm_ae.export.graph_check import GRAPH_FILE, read_graph, read_signatures
from lstm_ae.export.manifest import read_manifest, require_unchanged_files
from lstm_ae.export.samples import sample_signature
from lstm_ae.export.saved_model import expected_run_answers
from lstm_ae.export.verification import VerificationCase, require_allowed_operations, verify_export
from lstm_ae.run import Run


class VerifiedVersion(NamedTuple):
    """A version that has passed.

    Args:
        directory: its folder.
        endpoints: those that were run.
        difference: the largest from the trained model, relative to the largest value; None where there is no model.
        unchecked: what could not be checked, in words.
    """

    directory: Path
    endpoints: list[str]
    difference: float | None
    unchecked: list[str]


def verify_versions(folder: Path) -> Iterator[VerifiedVersion]:
    """Check a version, or every version of a model's folder, in the order of their numbers.

    Of each: its files are those of its manifest; it holds allowed operations only; TensorFlow alone loads it, in a
    process of its own; every endpoint runs there and answers in finite numbers; and where the folder is a run, the
    answers are those of its `model.keras`.

    Raises:
        DataError: there is no version; or the run's own model cannot be used.
        Unproven: a version fails.
    """
    for version in _list_version_folders(folder):
        yield _verify_version(version)


def _list_version_folders(folder: Path) -> list[Path]:
    if (folder / GRAPH_FILE).exists():
        return [folder]
    found = [path for path in folder.glob("*") if path.is_dir() and path.name.isascii() and path.name.isdecimal()]
    if not found:
        raise DataError(f"{str(folder)!r} holds no exported version; give a folder that lstmae export has written")
    return sorted(found, key=lambda path: int(path.name))


def _has_missing_values(case: VerificationCase) -> bool:
    return any(value.dtype.kind == "f" and np.isnan(value).any() for value in case.inputs.values())


def _verify_version(version: Path) -> VerifiedVersion:
    name, unchecked = repr(str(version)), []
    manifest = read_manifest(version)
    if manifest is None:
        unchecked.append("whether its files are as they were exported, since it has no manifest")
    else:
        require_unchanged_files(version, manifest)
    require_allowed_operations(version, name)
    called = read_signatures(read_graph(version))
    run = Run(version.absolute().parent)
    cases = []
    if run.model_file.is_file():
        cases = [case for case in expected_run_answers(run) if case.endpoint in called]
        if "max_gap" not in (manifest or {}) and any(map(_has_missing_values, cases)):
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
