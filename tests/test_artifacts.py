"""Test artifacts: saving and loading, and the refusal of damaged files."""

import dataclasses
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest

from lstm_ae.arrays import Array
from lstm_ae.artifacts import Artifact, OwnNames, PartsByName, StoredArray
from lstm_ae.config import Toy
from lstm_ae.data.windows import Source
from lstm_ae.errors import DataError
from lstm_ae.run import TRAINING_FILES, Run, create_run


class Part(NamedTuple):
    kind: str
    offset: Annotated[Array, StoredArray("scale_0", np.floating, "lines")]


@dataclasses.dataclass(frozen=True)
class Sample(Artifact):
    file = "sample.npz"
    advice = "Measure it"

    scores: Annotated[Array, StoredArray("scores_0", np.floating, "rows", "features", stored_as=np.float32)]
    segment: Annotated[Array, StoredArray("scores_1", np.integer, "rows")]
    part: Part
    step: float
    weighted_only: Annotated[Array | None, StoredArray("weights_0", np.floating, "features", flag="weighted")] = None


def sample(**changes: Any) -> Sample:
    whole = Sample(np.array([[0.5, 1.5]] * 3), np.array([0, 0, 1]), Part("fixed", np.zeros(1)), 2)
    return dataclasses.replace(whole, **changes)


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0])])
def test_artifact_loads_as_it_was_saved(tmp_path: Path, weights: Array | None) -> None:
    run = create_run(tmp_path / "run", Toy(), Source("t", "", ""), (), "")
    assert run.find_artifact(Sample) is None
    with pytest.raises(DataError, match=r"has no sample\.npz\. Measure it"):
        run.artifact(Sample)
    (run.directory / Sample.file).write_bytes(sample(weighted_only=weights).content())
    read = run.artifact(Sample)
    assert (read.scores.dtype, read.scores.tolist()) == (np.float32, [[0.5, 1.5]] * 3)
    assert (read.segment.tolist(), read.part.kind, read.part.offset.tolist(), read.step) == ([0, 0, 1], "fixed", [0], 2)
    np.testing.assert_array_equal(read.weighted_only, weights)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"scores": np.ones(3)}, "scores_0 must have the axes rows, features"),
        ({"segment": np.zeros(4, int)}, "scores_1 must have 3 rows"),
        ({"segment": np.zeros(3)}, "scores_1 must be integer"),
        ({"weighted_only": np.ones(3)}, "weights_0 must have 2 features"),
        ({"step": True}, "step must be"),
        ({"step": "2"}, "step must be"),
        ({"part": Part(1, np.zeros(1))}, "kind must be"),  # type: ignore[arg-type]
    ],
)
def test_invalid_artifact_is_neither_saved_nor_loaded(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], fact: str
) -> None:
    wrong = sample(**changes)
    with pytest.raises(ValueError, match=fact):
        wrong.content()
    with monkeypatch.context() as patch:
        patch.setattr(StoredArray, "check", lambda *_: None)
        patch.setattr("lstm_ae.artifacts._check_value", lambda *_: None)
        content = wrong.content()
    with pytest.raises(DataError, match=r"'run/a\.npz' is damaged"):
        Sample.from_content(content, "run/a.npz")


def test_artifact_with_a_missing_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(sample().content())
    with np.load(path) as file:
        np.savez(path, **{name: file[name] for name in file if name != "scale_0"})
    with pytest.raises(DataError, match=r"a\.npz.* is damaged .*scale_0"):
        Sample.from_content(path.read_bytes(), str(path))


@pytest.mark.parametrize("meta", [b"[]", b"null", b"3"])
def test_artifact_metadata_must_be_an_object(tmp_path: Path, meta: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(sample().content())
    with np.load(path) as file:
        np.savez(path, **{name: file[name] for name in file if name != "meta"}, meta=np.frombuffer(meta, np.uint8))
    with pytest.raises(DataError, match=r"a\.npz.* cannot be read"):
        Sample.from_content(path.read_bytes(), str(path))


class Inner(NamedTuple):
    weight: float
    values: Annotated[Array, StoredArray("values_0", np.floating, "steps")]
    extra: Annotated[Array | None, StoredArray("extra_0", np.integer, "steps", flag="has_extra")]


class Pair(NamedTuple):
    name: str
    inner: Inner


@dataclasses.dataclass(frozen=True)
class Twins(Artifact):
    """An artifact with two parts of one type, with parts of their own, and a part without own names."""

    file = "twins.npz"

    one: Annotated[Pair, OwnNames()]
    other: Annotated[Pair, OwnNames()]
    inner: Inner


def twins() -> Twins:
    return Twins(
        Pair("a", Inner(1.5, np.array([1.0, 2.0]), np.array([3, 4]))),
        Pair("b", Inner(2.5, np.array([5.0]), None)),
        Inner(3.5, np.array([6.0, 7.0, 8.0]), None),
    )


def test_two_parts_of_one_type_are_stored_under_their_own_names(tmp_path: Path) -> None:
    path = tmp_path / "twins.npz"
    path.write_bytes(twins().content())
    with np.load(path) as file:
        assert list(file) == ["meta", "one.values_0", "one.extra_0", "other.values_0", "values_0"]
        assert json.loads(file["meta"].tobytes()) == {
            "one.name": "a",
            "one.weight": 1.5,
            "one.has_extra": True,
            "other.name": "b",
            "other.weight": 2.5,
            "weight": 3.5,
        }
    found = Twins.from_content(path.read_bytes(), str(path))
    assert (found.one.name, found.other.name) == ("a", "b")
    assert [part.weight for part in (found.one.inner, found.other.inner, found.inner)] == [1.5, 2.5, 3.5]
    # The parts have different numbers of steps.
    assert [part.values.tolist() for part in (found.one.inner, found.other.inner, found.inner)] == [
        [1, 2],
        [5],
        [6, 7, 8],
    ]
    assert found.one.inner.extra is not None
    assert found.one.inner.extra.tolist() == [3, 4]
    assert found.other.inner.extra is None
    assert found.inner.extra is None


def test_axes_of_a_part_with_its_own_names_must_agree() -> None:
    whole = twins()
    wrong = whole.one._replace(inner=whole.one.inner._replace(extra=np.array([3])))
    with pytest.raises(ValueError, match=r"one\.extra_0 must have 2 one\.steps. Received: 1"):
        dataclasses.replace(whole, one=wrong).content()
    heavy = whole.other._replace(inner=whole.other.inner._replace(weight="2"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"other\.weight must be"):
        dataclasses.replace(whole, other=heavy).content()


class Other(NamedTuple):
    steps: int
    values: Annotated[Array, StoredArray("values_0", np.floating, "steps")]


@dataclasses.dataclass(frozen=True)
class Named(Artifact):
    """An artifact with parts of several types by name."""

    file = "named.npz"

    parts: Annotated[Mapping[str, Part | Other], PartsByName({"a": Part, "b": Other, "c": Other})]
    values: Annotated[Array, StoredArray("values_0", np.floating, "steps")]


def named() -> Named:
    parts = {"c": Other(4, np.array([2.0])), "a": Part("fixed", np.zeros(3))}
    return Named(parts, np.array([6.0, 7.0]))


def test_parts_by_name_keep_their_types_and_order(tmp_path: Path) -> None:
    path = tmp_path / Named.file
    path.write_bytes(named().content())
    with np.load(path) as file:
        assert list(file) == ["meta", "c.values_0", "a.scale_0", "values_0"]
        assert json.loads(file["meta"].tobytes()) == {"parts": ["c", "a"], "c.steps": 4, "a.kind": "fixed"}
    found = Named.from_content(path.read_bytes(), str(path))
    assert list(found.parts) == ["c", "a"]
    assert (type(found.parts["c"]), type(found.parts["a"])) == (Other, Part)
    assert (found.parts["c"].values.tolist(), found.values.tolist()) == ([2], [6, 7])  # type: ignore[operator, union-attr]


@pytest.mark.parametrize("parts", [["c", "a", "other"], ["a", "b"], [], "", 3])
def test_unknown_or_missing_parts_are_refused(tmp_path: Path, parts: Any) -> None:
    path = tmp_path / Named.file
    path.write_bytes(named().content())
    with np.load(path) as file:
        meta = json.loads(file["meta"].tobytes()) | {"parts": parts}
        arrays = {name: file[name] for name in file if name != "meta"}
    np.savez(path, **arrays, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8))
    with pytest.raises(DataError, match=r"named\.npz' is damaged"):
        Named.from_content(path.read_bytes(), str(path))


def test_every_artifact_is_a_file_of_training() -> None:
    """A loaded estimator has these files in memory."""
    importlib.import_module("lstm_ae.apply.evaluate")
    kinds, found = [Artifact], set[str]()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if hasattr(kind, "file") and kind.__module__.startswith("lstm_ae."):
            found.add(kind.file)
    assert "normal.npz" in found
    assert found <= set(TRAINING_FILES)


@pytest.mark.parametrize("name", ["pump", "snp"])
def test_artifacts_of_the_saved_models_round_trip(name: str) -> None:
    """The saved artifacts equal the loaded files byte by byte."""
    from lstm_ae.detection.calibration import NormalScores
    from lstm_ae.forecasting.baselines import ForecastRegression
    from lstm_ae.forecasting.intervals import ErrorQuantiles
    from lstm_ae.studies.series.reconstruction import MahalanobisScores, PcaScores

    run = Run(Path(__file__).parents[1] / "saved_models" / name)
    kinds: dict[str, list[type[Artifact]]] = {
        "pump": [NormalScores, PcaScores, MahalanobisScores],
        "snp": [ErrorQuantiles, ForecastRegression],
    }
    for kind in kinds[name]:
        assert run.artifact(kind).content() == (run.directory / kind.file).read_bytes()
