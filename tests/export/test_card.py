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
from lstm_ae.run import Run, measured_splits

ROOT = Path(__file__).parents[2] / "saved_models"
NAMES = sorted(path.parent.name for path in ROOT.glob("*/config.json"))
ENDPOINTS = [SimpleNamespace(name="serving_default", inputs=["company", "past"], outputs=["future"])]


@pytest.mark.parametrize("name", NAMES)
def test_card_contains_data_training_metrics_and_limits(name):
    run = Run(ROOT / name)
    about, metrics, text = run.about(), run.metrics(), render_card(name, "7", run, ENDPOINTS)
    assert text.startswith(f"# {name}\n\n{CARD_MARK}\n")
    for wanted in (
        about["data"]["text"],
        about["data"]["licence"],
        about["data"]["sha256"],
        *about["data"]["notes"],
        f"`{about['command']}`",
        f"seed: {run.config().seed}",
        f"{metrics['training']['seconds']:,.0f} s",
        f"{metrics['training']['parameters']:,}",
        f"tensorflow {about['versions']['tensorflow']}",
        "| `serving_default` | company, past | future |",
        f'load("{name}/7")',
        "## Limits",
    ):
        assert wanted in text
    for part, row in measured_splits(metrics).items():
        for measure, metric in row.items():
            (line,) = [
                line
                for line in text.splitlines()
                if line.startswith(f"| {part} | {measure.replace('_', ' ')}")
                and line.split("|")[2].strip() in (measure.replace("_", " "), measure.replace("_", " ") + " (scaled)")
            ]
            form = "+.2%" if measure == "skill" else ".4g"
            assert f"| {metric['value']:{form}}" in line
            for baseline, value in metric["baselines"].items():
                assert f"{baseline}: {value:{form}}" in line
    assert "Leaky" not in text


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


@pytest.mark.parametrize("name", NAMES)
def test_card_of_a_saved_model_describes_its_inputs_and_outputs(name):
    endpoints = [
        SimpleNamespace(name=key, inputs=list(each.inputs), outputs=list(each.outputs))
        for key, each in sorted(read_graph(ROOT / name / "1").signature_def.items())
    ]
    described = re.findall(r"(?m)^- `\w+`: .*$", render_card(name, "1", Run(ROOT / name), endpoints))
    assert described
    written = (ROOT / name / "README.md").read_text()
    assert [line for line in described if line not in written] == []


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
