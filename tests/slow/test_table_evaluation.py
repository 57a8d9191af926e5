"""Tests of evaluating a run on another table, which gives the test metrics if it contains the test rows."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from searches import call, done

from lstm_ae.apply.evaluate import NEW_DATA, evaluate_table
from lstm_ae.apply.run_table import TableRequest
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.run import Run, open_run

# Four trainings before the first test.
pytestmark = pytest.mark.slow

HOURS = 1000
TEST = slice(850, HOURS)


def frame() -> pd.DataFrame:
    """Return a 12-hour cycle that doubles its speed in every other 100 hours, with an anomaly near the end."""
    random = np.random.default_rng(0)
    hours = np.arange(HOURS)
    fast = hours // 100 % 2 == 1
    value = np.sin(2 * np.pi * hours / 12 * np.where(fast, 2, 1)) + 0.1 * random.normal(size=HOURS)
    broken = (hours >= 930) & (hours < 940)
    value[broken] += 3
    columns = {"value": value, "pace": np.where(fast, "fast", "slow"), "broken": broken.astype(int)}
    return pd.DataFrame(columns, pd.date_range("2024-01-01", periods=HOURS, freq="h", name="time"))


WINDOW = 12
OPTIONS = f"--window {WINDOW} --units 6 --epochs 2 --value-cols value"
TASKS = {
    "forecast": "--task forecast --horizon 3",
    "reconstruct": "--task reconstruct --code 3",
    "anomaly": "--task anomaly --code 3",
    "classify": "--task classify --label-col pace --seeds 1",
}

STORED_BASELINES = {
    "forecast": "linear regression",
    "reconstruct": "PCA with 3 numbers",
    "anomaly": "PCA with 3 numbers",
    "classify": "logistic regression",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table, a table of its last rows, and a run of each task."""
    folder = tmp_path_factory.mktemp("appraisal")
    frame().to_csv(folder / "all.csv")
    frame().iloc[TEST].to_csv(folder / "last.csv")
    # Forecasts of the test split also read the window before it.
    frame().iloc[TEST.start - WINDOW :].to_csv(folder / "forecast.csv")
    with contextlib.chdir(folder):
        for task, options in TASKS.items():
            done(f"series train all.csv {OPTIONS} {options} --out {task}")
    return folder


@pytest.mark.parametrize("task", list(TASKS))
def test_evaluating_the_test_rows_gives_the_test_metrics_of_the_run(place: Path, task: str) -> None:
    options = {"label_col": "pace"} if task == "classify" else {}
    table = "forecast.csv" if task == "forecast" else "last.csv"
    evaluation = evaluate_table(open_run(place / task), TableRequest(str(place / table), **options))
    found, stored = evaluation.metrics[NEW_DATA], open_run(place / task).metrics()
    before = stored["test"]
    assert found
    for name, metric in found.items():
        assert metric.value == pytest.approx(before[name]["value"], rel=1e-4), name
        for key in metric.baselines.keys() & before[name]["baselines"].keys():
            # The most frequent class depends on the table.
            if not key.startswith("always"):
                assert metric.baselines[key] == pytest.approx(before[name]["baselines"][key], rel=1e-3), (name, key)
    assert STORED_BASELINES[task] in {key for metric in found.values() for key in metric.baselines}
    if task != "classify":
        assert evaluation.verdicts[NEW_DATA].skill == pytest.approx(stored["verdict"]["test"]["skill"], rel=1e-3)


def test_forecast_evaluation_works_without_a_stored_regression(place: Path, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(place / "forecast", tmp_path / "run")))
    (run.directory / "regression.npz").unlink()
    evaluation = evaluate_table(run, TableRequest(str(place / "last.csv")))
    assert "linear regression" not in evaluation.metrics[NEW_DATA]["forecast_mse"].baselines
    (run.directory / "regression.npz").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"regression\.npz"):
        evaluate_table(run, TableRequest(str(place / "last.csv")))


def test_classification_evaluation_has_baselines_and_verdict(place: Path) -> None:
    evaluation = evaluate_table(open_run(place / "classify"), TableRequest(str(place / "last.csv"), label_col="pace"))
    before = open_run(place / "classify").metrics()
    # The baseline predicts the most frequent class of the evaluated table, not of the training split.
    always = evaluation.metrics[NEW_DATA]["accuracy"].baselines["always fast"]
    assert always > before["test"]["accuracy"]["baselines"]["logistic regression"]
    baselines = evaluation.metrics[NEW_DATA]["accuracy"].baselines
    assert baselines["logistic regression on convolutions"] > always
    assert evaluation.verdicts[NEW_DATA].baseline == "logistic regression on convolutions"


def test_labeled_anomalies_are_compared_with_baseline_scores(place: Path) -> None:
    evaluation = evaluate_table(open_run(place / "anomaly"), TableRequest(str(place / "last.csv"), label_col="broken"))
    metrics = evaluation.metrics[NEW_DATA]
    assert metrics["auc_pr"].value > 0.5
    assert set(metrics["vus_pr"].baselines) == {"PCA", "Mahalanobis", "raw values"}
    assert set(metrics["event_recall"].baselines) == {"PCA", "Mahalanobis"}
    assert not metrics["event_false"].higher_is_better


@pytest.mark.parametrize(
    ("task", "names"),
    [("classify", ("logistic", "convolutions")), ("reconstruct", ("components",)), ("anomaly", ("pca",))],
)
def test_evaluation_without_stored_baselines_has_no_verdict(
    place: Path, tmp_path: Path, task: str, names: tuple[str, ...]
) -> None:
    run = open_run(shutil.copytree(place / task, tmp_path / "run"))
    for name in names:
        (run.directory / f"{name}.npz").unlink()
    evaluation = evaluate_table(run, TableRequest(str(place / "last.csv")))
    assert evaluation.verdicts == {}
    assert {base for metric in evaluation.metrics[NEW_DATA].values() for base in metric.baselines} <= {
        "always fast",
        "always slow",
    }


def test_evaluation_refuses_unsuitable_tables_and_options(place: Path) -> None:
    with pytest.raises(ConfigError, match="--label-col is for runs of --task anomaly or classify"):
        evaluate_table(open_run(place / "forecast"), TableRequest(str(place / "last.csv"), label_col="pace"))
    frame().iloc[:14].to_csv("few.csv")
    with pytest.raises(DataError, match=r"few\.csv' has 14 rows, and a window with its horizon has 15"):
        evaluate_table(open_run(place / "forecast"), TableRequest("few.csv"))
    frame().assign(pace="none of these").to_csv("other.csv")
    with pytest.raises(DataError, match="holds no class that the run knows"):
        evaluate_table(open_run(place / "classify"), TableRequest("other.csv", label_col="pace"))
    said = call(f"series evaluate {place}/anomaly --label-col broken")
    assert said.code == 2
    assert "--label-col is for another table" in said.err


def test_evaluation_warns_about_rows_of_the_training_period(place: Path) -> None:
    said: list[str] = []
    evaluate_table(open_run(place / "forecast"), TableRequest(str(place / "all.csv")), notify=said.append)
    (note,) = said
    assert "(2024-01-01 to 2024-02-05 09:00:00)" in note
    said.clear()
    evaluate_table(open_run(place / "forecast"), TableRequest(str(place / "last.csv")), notify=said.append)
    assert said == []
