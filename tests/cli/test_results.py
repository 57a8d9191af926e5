"""Test the output of results: verdict and key metrics, tables with `--verbose`, only JSON with `--json`."""

import logging

import pytest
from lstm_ae_cli.backend import show_library_log
from lstm_ae_cli.console import Console, scoped_logging
from lstm_ae_cli.results import KEY_METRICS, show_metrics

from lstm_ae.evaluation import ColumnSkill, Evaluation, Metric, Verdict

EVALUATION = Evaluation(
    {
        part: {
            "mse": Metric(0.5, "scaled", {"persistence": 0.75}),
            "skill": Metric(0.25, "", {"linear regression": 0.2}, higher_is_better=True),
            "mae": Metric(1.5, "USD", {"persistence": 2.0, "linear regression": 1.75}),
            "coverage_80": Metric(0.8125, "", {"nominal": 0.8}, higher_is_better=True),
            "coverage_95": Metric(0.9375, "", {"nominal": 0.95}, higher_is_better=True),
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


def test_results_begin_with_the_verdict_and_three_metrics(shown):
    verdict, *lines, leaky = shown(EVALUATION, "The split is random.")
    metrics, columns = lines[:3], lines[3:]
    assert "beats linear regression (skill +6.25%, p = 0.01)" in verdict
    assert [line.split()[:2] for line in metrics] == [["test", "skill"], ["test", "mae"], ["test", "coverage_80"]]
    assert metrics[0].split()[2:] == ["+25.00%", "(linear", "regression", "+20.00%)"]
    assert "1.5 USD" in metrics[1]
    assert [line.split()[0] for line in columns[2:]] == ["c0", "c1", "c2", "c3", "c4"]
    assert columns[3].split()[1] == "+12.50%"
    assert leaky == "LEAKY: The split is random."


@pytest.mark.parametrize(
    ("options", "expected"), [({}, ["compiled"]), ({"quiet": True}, []), ({"verbose": True}, ["other", "compiled"])]
)
def test_compilation_of_the_kernels_is_shown_unless_quiet(options, expected, capsys):
    with scoped_logging():
        show_library_log(Console(**options))
        logging.getLogger("lstm_ae.models").info("other")
        logging.getLogger("lstm_ae.kernels.compiled").info("compiled")
    assert capsys.readouterr().err.splitlines() == expected


def test_verbose_results_append_the_metric_tables(shown):
    short, long = shown(EVALUATION), shown(EVALUATION, verbose=True)
    assert long[:4] == short[:4]
    assert [line.split()[0] for line in long[6:13]] == [f"c{number}" for number in range(7)]
    table = long[13:]
    assert table[0].split() == ["split", "measure", "value", "unit", "baseline"]
    assert sum(line.startswith("validation") for line in table) == 5
    (row,) = (line.split() for line in table if line.split()[:2] == ["test", "skill"])
    assert row[2:] == ["+25.00%", "-", "linear", "regression", "+20.00%"]
    assert table[-1].startswith("Verdict on validation: ")


def test_show_metrics_prints_nothing_with_json(shown):
    assert shown(EVALUATION, json=True, verbose=True) == []


def test_results_without_key_metrics_show_the_first_metrics(shown):
    assert "loss" not in KEY_METRICS
    metrics = Evaluation({"test": {"loss": Metric(2.0), "other": Metric(float("nan"))}}).as_json()
    assert [line.split() for line in shown(metrics)] == [["test", "loss", "2"], ["test", "other", "-"]]
    assert shown({}) == []
