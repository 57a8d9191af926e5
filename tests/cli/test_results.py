"""What a result shows: verdict and key metrics first, tables with `--verbose`, nothing but JSON with `--json`."""

import pytest
from lstm_ae_cli.console import Console
from lstm_ae_cli.results import KEY_METRICS, show_metrics

from lstm_ae.evaluation import ColumnSkill, Evaluation, Metric, Verdict

EVALUATION = Evaluation(
    {
        part: {
            "mse": Metric(0.5, "scaled", {"persistence": 0.75}),
            "skill": Metric(0.25, "", {"linear regression": 0.2}, higher_is_better=True),
            "mae": Metric(1.5, "USD", {"persistence": 2.0, "linear regression": 1.75}),
            "coverage_80": Metric(0.8125, "", {"wanted": 0.8}, higher_is_better=True),
            "coverage_95": Metric(0.9375, "", {"wanted": 0.95}, higher_is_better=True),
        }
        for part in ("validation", "test")
    },
    {part: Verdict("beats", "linear regression", 0.0625, 0.01) for part in ("validation", "test")},
    columns={"test": {f"c{number}": ColumnSkill("persistence", number / 8, 0.0, 0.0) for number in range(7)}},
).as_json()


@pytest.fixture
def shown(capsys):
    def show(metrics, leaky="", **options):
        show_metrics(Console(**options), metrics, leaky)
        return capsys.readouterr().out.splitlines()

    return show


def test_the_verdict_and_three_metrics_come_first(shown):
    lines = shown(EVALUATION, "The split is random.")
    assert lines[0] == "Verdict on test: beats linear regression (skill +6.25%, p = 0.01)"
    assert [line.split()[:2] for line in lines[1:4]] == [["test", "skill"], ["test", "mae"], ["test", "coverage_80"]]
    assert lines[1].split()[2:] == ["+25.00%", "(linear", "regression", "+20.00%)"]
    assert lines[2].split("  ")[-1] == "(persistence 2, linear regression 1.75)"
    assert "1.5 USD" in lines[2]
    assert "c1 +12.50%" in lines[4]
    assert lines[4].endswith(", and 2 more")
    assert lines[5:] == ["LEAKY: The split is random."]


def test_tables_follow_with_verbose(shown):
    short, long = shown(EVALUATION), shown(EVALUATION, verbose=True)
    assert long[: len(short)] == short
    table = long[len(short) :]
    assert table[0].split() == ["part", "measure", "value", "unit", "baseline"]
    assert sum(line.startswith("validation") for line in table) == 5
    (row,) = (line.split() for line in table if line.split()[:2] == ["test", "skill"])
    assert row[2:] == ["+25.00%", "-", "linear", "regression", "+20.00%"]
    assert any(line.split()[:2] == ["test", "c6"] for line in table)
    assert table[-1].startswith("Verdict on validation: ")


def test_json_alone_is_printed(shown):
    assert shown(EVALUATION, json=True, verbose=True) == []


def test_a_split_without_key_metrics_shows_its_first_ones(shown):
    assert "loss" not in KEY_METRICS
    metrics = Evaluation({"test": {"loss": Metric(2.0), "other": Metric(float("nan"))}}).as_json()
    assert [line.split() for line in shown(metrics)] == [["test", "loss", "2"], ["test", "other", "-"]]
    assert shown({}) == []
