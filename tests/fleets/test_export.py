"""Export of a fleet: the outputs of the runs, the files, verification, serving, and refused options."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fleet_makers import copy_pump_fleet, write_pumps
from searches import call, refused

from lstm_ae.config import Series
from lstm_ae.data.scaling import Scale
from lstm_ae.fleets.directory import Fleet
from lstm_ae.fleets.export import _make_template, _stack_weights
from lstm_ae.models.autoencoder import pooled_autoencoder
from lstm_ae.models.keras_network import KerasNetwork
from lstm_ae.models.network import FILL
from lstm_ae.models.scaling import in_own_units, inner_network

SERIES = ("a", "b/c", "e")


def write_fleet(folder: Path) -> Fleet:
    """Write a fleet whose models have different weights, and a series without a model."""
    fleet = Fleet(copy_pump_fleet(folder, SERIES, without=("d",)))
    run = fleet.runs()["b/c"]
    model = run.model()
    network = inner_network(model)
    network.set_weights([weight * 1.05 for weight in network.get_weights()])
    model.save(run.model_file)
    return fleet


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table and an exported fleet, which no test changes.

    The version is verified in a process with neither Keras nor this package.
    """
    folder = tmp_path_factory.mktemp("exported")
    write_fleet(folder / "fleet")
    write_pumps(folder / "table.csv", SERIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = call("export fleet --json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["saved_model"] == "fleet/1"
    assert 0 <= found["difference"] <= 1e-4
    assert [each["name"] for each in found["endpoints"]] == ["serving_default", "reconstruct", "encode", "score"]
    assert all(each["inputs"] == ["sequence", "series"] for each in found["endpoints"])
    return folder


@pytest.mark.slow
def test_manifest_and_card_name_the_series(place: Path) -> None:
    manifest = json.loads((place / "fleet/1/assets.extra/manifest.json").read_text())
    assert manifest["series"] == list(SERIES)
    described = manifest["signatures"]["score"]["inputs"]
    assert described["series"] == {"dtype": "string", "shape": [None]}
    card = (place / "fleet/README.md").read_text()
    assert "One model for each of 3 series" in card
    assert "- `series`: for each row of the batch, the name of the series" in card
    assert "- `threshold`: the threshold of the series, from its share of the rule budget:" in card


@pytest.mark.slow
def test_served_scores_and_thresholds_are_those_of_a_detection(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lstm_ae.serving.client import connect

    monkeypatch.chdir(place)
    said = call("series detect fleet table.csv --id-col machine --scores scores.csv --events events.csv --json")
    assert said.code == 0, said.err
    thresholds = json.loads(said.out)["thresholds"]
    lines = [line.split(",") for line in Path("table.csv").read_text().splitlines()[1:]]
    scored = [line.split(",") for line in Path("scores.csv").read_text().splitlines()]
    score = scored[0].index("score")
    rows = np.array([[line[2:] for line in lines if line[1] == name] for name in SERIES], np.float32)
    client = connect("fleet", None, None, "score")
    assert client.id_columns == ()
    found = client.call({"sequence": rows, "series": np.array([name.encode() for name in SERIES], object)})
    np.testing.assert_allclose(found["threshold"], [thresholds[name] for name in SERIES], rtol=1e-6)
    assert thresholds["a"] != thresholds["b/c"]
    for number, name in enumerate(SERIES):
        expected = [float(line[score]) for line in scored[1:] if name in line]
        np.testing.assert_allclose(found["score"][number], expected, rtol=1e-3)
        assert found["anomaly"][number].tolist() == (np.array(expected) > thresholds[name]).tolist()
    assert found["anomaly"][0].any()


@pytest.mark.slow
def test_predict_sets_the_series_and_names_an_unknown_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    header, *lines = Path("table.csv").read_text().splitlines()
    Path("one.csv").write_text("\n".join([header, *(line for line in lines if ",b/c," in line)]))
    command = "predict fleet one.csv --columns flow,pressure,vibration --signature score"
    for series in SERIES[:2]:
        said = call(f"{command} --set series={series} --out {len(series)}.jsonl")
        assert said.code == 0, said.err
    assert Path("1.jsonl").read_text() != Path("3.jsonl").read_text()
    said = call(f"{command} --set series=x/y --out other.jsonl")
    assert said.code == 3
    assert "there is no model of this series" in said.last
    assert "x/y" in said.last


@pytest.mark.slow
def test_verify_only_compares_with_the_runs(place: Path, monkeypatch: pytest.MonkeyPatch, proven_here: None) -> None:
    monkeypatch.chdir(place)
    said = call("export fleet --verify-only --json")
    assert said.code == 0, said.err
    (one,) = json.loads(said.out)["verified"]
    assert one["directory"] == "fleet/1"
    assert one["unchecked"] == []
    assert 0 <= one["difference"] <= 1e-4
    # Apart from its fleet, a version runs with the names in its manifest.
    shutil.copytree("fleet/1", "apart/1")
    said = call("export apart --verify-only --json")
    assert said.code == 0, said.err
    (one,) = json.loads(said.out)["verified"]
    assert one["difference"] is None
    assert [each for each in one["unchecked"] if "endpoint" in each] == []


@pytest.mark.slow
def test_verify_only_finds_a_model_that_was_trained_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proven_here: None
) -> None:
    """Only NumPy computes the model of the second of three series."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(place / "fleet", "fleet")
    shutil.rmtree("fleet/runs/b%2Fc")
    shutil.copytree("fleet/runs/a", "fleet/runs/b%2Fc")
    said = call("export fleet --verify-only")
    assert said.code == 5
    assert "differs from the trained model" in said.last


def test_options_and_fleets_that_cannot_be_exported(tmp_path: Path) -> None:
    fleet = Fleet(copy_pump_fleet(Path("fleet"), (), without=("d",)))
    assert refused("export fleet --format onnx", 2).startswith("--format does not apply to a fleet")
    assert refused("export fleet", 3) == "No series of the fleet 'fleet' has a model"
    assert "is another run or fleet" in refused("export fleet/common --out . --name fleet", 2)
    fleet.table.unlink()
    assert "is unfinished" in refused("export fleet", 3)


def test_template_computes_networks_with_and_without_mask_and_fill() -> None:
    config = Series(units=2, code=2)
    line, networks = np.array([[2.0, 3.0]], np.float32), []
    for seed, (missing, fill) in enumerate(((True, ()), (False, (0.5, -0.25)), (False, ()))):
        network = pooled_autoencoder(config, steps=3, features=2, missing=missing, fill=fill)
        random = np.random.default_rng(seed)
        network.set_weights([random.normal(0, 0.5, weight.shape) for weight in network.get_weights()])
        networks.append(KerasNetwork(in_own_units(network, Scale("fixed", line + seed, line * (seed + 1)))))
    template = _make_template(config, networks)
    assert inner_network(template).get_layer(FILL).weights
    rows = np.random.default_rng(9).normal(2, 1, (4, 3, 2)).astype(np.float32)
    rows[1, 2, 0] = rows[2, 0] = np.nan
    for network in networks:
        template.set_weights(_stack_weights(template, network))
        found = KerasNetwork(template)({"sequence": rows, "series": np.zeros(4, np.int32)})
        np.testing.assert_allclose(found["reconstruction"], network({"sequence": rows})["reconstruction"], rtol=1e-5)
