"""Tests of the model card that describes an exported run."""

import dataclasses
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


class Changed(Run):
    """A saved run whose description, config, or metrics are changed."""

    changes: dict = {}

    def about(self):
        about = super().about()
        return about | {"data": about["data"] | self.changes.get("data", {})}

    def config(self):
        return dataclasses.replace(super().config(), **self.changes.get("config", {}))

    def metrics(self):
        metrics = super().metrics()
        return (
            metrics
            | {"training": metrics["training"] | self.changes.get("training", {})}
            | self.changes.get("more", {})
        )


@pytest.mark.parametrize(
    ("name", "changes", "said", "unsaid"),
    [
        ("snp", {"data": {"leaky": "windows were shuffled"}}, "**Leaky: windows were shuffled.**", ""),
        ("mnist-rows", {"config": {"read": "pixels"}}, "pixel by pixel", ""),
        (
            "snp",
            {"config": {"goal": "reconstruct", "inputs": None, "seeds": None}},
            "Reconstructs windows",
            "Forecasts",
        ),
        ("snp", {"config": {"seeds": 3}}, "- seed: 0, 1, 2\n", ""),
        ("toy", {}, "- license: CC0", "licence"),
        ("pump", {"more": {"notes": ["No error on test"]}}, "\n\nNo error on test.\n\n", ""),
        ("mnist-rows", {"config": {"reconstruction_weight": 1.0}}, "Its class is meaningless", "classifies"),
        ("mnist-rows", {"config": {"reconstruction_weight": 0.0}}, "Its reconstruction is meaningless", "classifies"),
    ],
)
def test_card_follows_the_run(name, changes, said, unsaid):
    run = Changed(ROOT / name)
    run.changes = changes
    text = render_card(name, "1", run, ENDPOINTS)
    assert said in text
    assert not unsaid or unsaid not in text


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
