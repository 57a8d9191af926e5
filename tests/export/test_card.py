"""Tests of the model card that describes an exported run."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from lstm_ae.export.card import CARD_MARK, render_card, write_card
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


def test_card_prints_data_leakage_in_bold():
    class Leaky(Run):
        def about(self):
            about = super().about()
            return about | {"data": about["data"] | {"leaky": "windows were shuffled"}}

    assert "**Leaky: windows were shuffled.**" in render_card("snp", "1", Leaky(ROOT / "snp"), ENDPOINTS)


def test_card_task_description_follows_the_config():
    class Changed(Run):
        def config(self):
            return dataclasses.replace(super().config(), **changes)

    run, changes = Changed(ROOT / "mnist-rows"), {"read": "pixels"}
    assert "The image is read pixel by pixel." in render_card("x", "1", run, ENDPOINTS)
    run, changes = Changed(ROOT / "snp"), {"goal": "reconstruct", "inputs": None, "seeds": None}
    assert "Reconstructs windows of daily prices." in render_card("x", "1", run, ENDPOINTS)


def test_card_names_the_seed_of_each_network() -> None:
    class Averaged(Run):
        def config(self):
            return dataclasses.replace(super().config(), seeds=3)

    assert "- seed: 0, 1, 2\n" in render_card("snp", "1", Averaged(ROOT / "snp"), ENDPOINTS)


def test_card_includes_the_notes_of_the_metrics() -> None:
    class Noted(Run):
        def metrics(self):
            return super().metrics() | {"notes": ["No error on test"]}

    assert "\n\nNo error on test.\n\n" in render_card("pump", "1", Noted(ROOT / "pump"), ENDPOINTS)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pump", " The threshold comes from a model that did not see the validation data."),
        ("snp", " The intervals come from a model that did not see the validation data."),
        ("mnist-rows", ""),
    ],
)
def test_card_of_a_refit_model_names_its_training_data(name: str, told: str) -> None:
    note = "trained on train and validation together, 7 epochs as trial 3 had at its best"

    class Again(Run):
        def metrics(self):
            metrics = super().metrics()
            return metrics | {"training": metrics["training"] | {"refit": note, "seconds": 5.2}}

    text = render_card(name, "1", Again(ROOT / name), ENDPOINTS)
    assert f"- training: 5 s, {note}\n" in text
    assert (
        "The weights are those of the last epoch and have seen the validation split; nothing was selected on the test "
        f"split.{told}\n"
    ) in text
    assert "selected on the validation split" not in text


@pytest.mark.parametrize(("weight", "said"), [(1.0, "class"), (0.0, "reconstruction")])
def test_card_of_digits_names_the_untrained_output(weight: float, said: str) -> None:
    class Changed(Run):
        def config(self):
            return dataclasses.replace(super().config(), reconstruction_weight=weight)

    text = render_card("x", "1", Changed(ROOT / "mnist-rows"), ENDPOINTS)
    assert f"Its {said} is meaningless, because it is untrained. The image is read row by row." in text
    assert "Reconstructs and classifies" not in text


def test_card_explains_outputs_without_a_unit():
    score = SimpleNamespace(name="score", inputs=["sequence"], outputs=["score"])
    text = render_card("toy", "1", Run(ROOT / "toy"), [score])
    assert "| `score` | sequence | score |" in text
    assert "\n- `score`: the reconstruction error of a step: the mean squared error of its scaled values" in text
    assert "- `label`" not in text
    assert "- `" not in render_card("toy", "1", Run(ROOT / "toy"), ENDPOINTS)


def test_user_written_card_is_not_overwritten(empty_directory):
    folder = Path(shutil.copytree(ROOT / "toy", "toy"))
    (folder / "README.md").unlink(missing_ok=True)
    assert write_card(folder, f"{CARD_MARK} one") == folder / "README.md"
    assert write_card(folder, f"{CARD_MARK} two") == folder / "README.md"
    (folder / "README.md").write_text("my own words")
    assert write_card(folder, f"{CARD_MARK} three") is None
    assert (folder / "README.md").read_text() == "my own words"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "pump",
            "- `sequence`: consecutive rows of one series, oldest first; the columns: flow, pressure, vibr",
        ),
        (
            "pump",
            "the mean, over all windows that contain the row, of the squared Mahalanobis distance of the window's "
            "residuals, divided by the median of normal rows",
        ),
        ("pump", "- `anomaly`: whether a row's score is above the threshold."),
        (
            "mnist-rows",
            "- `sequence`: the 28 rows of an image from top to bottom, 28 pixels each; each from 0 (ba",
        ),
        ("mnist-permuted", "in the `order` of the manifest in `assets.extra`"),
    ],
)
def test_card_describes_endpoint_inputs_and_outputs(name: str, said: str) -> None:
    manifest = json.loads((ROOT / name / "1/assets.extra/manifest.json").read_text())
    endpoints = [SimpleNamespace(name=key, **shapes) for key, shapes in manifest["signatures"].items()]
    assert said in render_card(name, "1", Run(ROOT / name), endpoints)
    assert said in (ROOT / name / "README.md").read_text()


def test_manifest_contains_the_pixel_permutation() -> None:
    from lstm_ae.data.digits import pixel_permutation

    found = json.loads((ROOT / "mnist-permuted/1/assets.extra/manifest.json").read_text())
    assert found["order"] == pixel_permutation().tolist()
