"""Tests of the model card that describes an exported run."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from lstm_ae.export.card import CARD_MARK, render_card, write_card
from lstm_ae.export.graph_check import read_graph
from lstm_ae.run import Run

ROOT = Path(__file__).parents[2] / "saved_models"
NAMES = sorted(path.parent.name for path in ROOT.glob("*/config.json"))
ENDPOINTS = [SimpleNamespace(name="serving_default", inputs=["company", "past"], outputs=["future"])]


@pytest.mark.parametrize("name", NAMES)
def test_shipped_card_is_that_of_its_run(name):
    written, signatures = (ROOT / name / "README.md").read_text(), read_graph(ROOT / name / "1").signature_def
    order = re.findall(r"(?m)^\| `(\w+)` \|", written)
    assert set(order) == set(signatures) - {"__saved_model_init_op"}
    endpoints = [
        SimpleNamespace(name=key, inputs=sorted(signatures[key].inputs), outputs=sorted(signatures[key].outputs))
        for key in order
    ]
    assert render_card(name, "1", Run(ROOT / name), endpoints) == written


def test_card_states_a_leak(monkeypatch):
    about = Run.about

    def leaky(run):
        found = about(run)
        return found | {"data": found["data"] | {"leaky": "windows were shuffled"}}

    monkeypatch.setattr(Run, "about", leaky)
    assert "**Leaky: windows were shuffled.**" in render_card("snp", "1", Run(ROOT / "snp"), ENDPOINTS)


def test_user_written_card_is_not_overwritten(empty_directory):
    folder = Path(shutil.copytree(ROOT / "toy", "toy"))
    (folder / "README.md").unlink(missing_ok=True)
    assert write_card(folder, f"{CARD_MARK} one") == folder / "README.md"
    assert write_card(folder, f"{CARD_MARK} two") == folder / "README.md"
    (folder / "README.md").write_text("my own words")
    assert write_card(folder, f"{CARD_MARK} three") is None
    assert (folder / "README.md").read_text() == "my own words"


def test_manifest_contains_the_pixel_permutation() -> None:
    from lstm_ae.data.digits import pixel_permutation

    found = json.loads((ROOT / "mnist-permuted/1/assets.extra/manifest.json").read_text())
    assert found["order"] == pixel_permutation().tolist()
