"""Test the tour: the rules that decide findings, the runs it uses, and its page."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digit_makers import npz
from report_makers import Page, made, metric
from scipy import stats
from searches import call, done, refused

from lstm_ae import run as runs
from lstm_ae.config import Config, Mnist, Snp, Toy
from lstm_ae.data import digits as all_digits
from lstm_ae.errors import Code, DataError
from lstm_ae.json_types import JsonObject
from lstm_ae.run import Run
from lstm_ae.studies import load_study
from lstm_ae.tour import findings, trainings
from lstm_ae.tour.decisions import (
    CONFIRMED,
    OPEN,
    REFUTED,
    Decision,
    Quantity,
    SettingResult,
    decide_all,
    decide_comparison,
    decide_reached,
    welch_difference,
)
from lstm_ae.tour.evaluation import STEPS_FILE, evaluate_part, measured_values, read_facts
from lstm_ae.tour.findings import Part, TourSources, tour_parts
from lstm_ae.tour.levels import LEVELS
from lstm_ae.tour.trainings import TourData, plan_tour, read_runs

LOSS = Quantity("loss", "mse", log=True)


def accurate(name: str, *values: float) -> SettingResult:
    return SettingResult(name, findings.ACCURACY, values)


def wrong(name: str, *values: float) -> SettingResult:
    return SettingResult(name, LOSS, values)


# Decision rules


def test_welch_difference_matches_hand_calculation() -> None:
    # Means 2 and 5, variances 1 and 2, 3 and 2 seeds: error sqrt(1/3 + 2/2), degrees of freedom
    # (4/3)^2 / ((1/3)^2 / 2 + 1) = 1.684.
    found = welch_difference(accurate("a", 1, 2, 3), accurate("b", 4, 6))
    assert found.value == -3
    error, freedom = math.sqrt(4 / 3), (16 / 9) / (1 / 18 + 1)
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.95, freedom) * error)
    assert found.p == pytest.approx(2 * stats.t.sf(3 / error, freedom))
    # Errors are compared as logarithms; without variance, the difference is exact.
    assert welch_difference(wrong("a", 1e-4, 1e-4), wrong("b", 1e-2, 1e-2)) == pytest.approx((2, 2, 2, 0))


V3, V2 = accurate("V3", 0.971, 0.973, 0.969), accurate("V2", 0.943, 0.939, 0.947)
BASE, ALIKE = accurate("b", 0.95, 0.9505), accurate("a", 0.981, 0.982, 0.983)
BASELINE = wrong("persistence", 2e-4)


@pytest.mark.parametrize(
    ("decision", "verdict"),
    [
        (decide_comparison(V3, V2), CONFIRMED),
        (decide_comparison(V2, V3), REFUTED),
        (decide_comparison(accurate("a", 0.5, 0.7), accurate("b", 0.4, 0.65)), OPEN),
        (decide_comparison(V3, V2, baseline=accurate("always", 0.98)), OPEN),
        (decide_comparison(accurate("a", 0.97, 0.971), BASE, 0.01), CONFIRMED),
        (decide_comparison(accurate("a", 0.955, 0.956), BASE, 0.01), REFUTED),
        (decide_comparison(accurate("a", 0.9595, 0.961), BASE, 0.01), OPEN),
        (decide_comparison(ALIKE, accurate("b", 0.981, 0.982, 0.983), 0.005, alike=True), CONFIRMED),
        (decide_comparison(ALIKE, accurate("b", 0.951, 0.952, 0.953), 0.005, alike=True), REFUTED),
        (decide_comparison(ALIKE, accurate("b", 0.970, 0.980, 0.990), 0.005, alike=True), OPEN),
        (decide_comparison(wrong("a", 1e-3, 1.1e-3), wrong("b", 1.1e-3, 1.2e-3), 2, alike=True), CONFIRMED),
        (decide_comparison(wrong("a", 1e-3, 1.01e-3), wrong("b", 9e-3, 9.1e-3), 2, alike=True), REFUTED),
        # Each seed must reach the value, and only a whole training refutes it.
        (decide_reached(accurate("V4", 0.99), 0.98, whole=True), CONFIRMED),
        (decide_reached(accurate("V4", 0.98), 0.98, whole=False), CONFIRMED),
        (decide_reached(accurate("V4", 0.97), 0.98, whole=True), REFUTED),
        (decide_reached(accurate("V4", 0.97), 0.98, whole=False), OPEN),
        (decide_reached(accurate("V4", 0.97, 0.99), 0.98, whole=True), OPEN),
        (decide_reached(accurate("V4"), 0.98, whole=True), OPEN),
        (decide_reached(wrong("LSTM", 2.5e-4), 3e-4, whole=True, baseline=BASELINE), REFUTED),
        (decide_reached(wrong("LSTM", 1e-4), 3e-4, whole=True, baseline=BASELINE), CONFIRMED),
        (decide_reached(accurate("pixels", 0.11, 0.13), 0.2, whole=True, reverse=True), CONFIRMED),
        (decide_reached(accurate("pixels", 0.97), 0.2, whole=False, reverse=True), REFUTED),
    ],
    ids=str,
)
def test_claims_are_decided_by_significance(decision: Decision, verdict: str) -> None:
    assert decision.verdict == verdict
    assert bool(decision.why) == (verdict == OPEN)


def test_decide_all_combines_decisions() -> None:
    yes, no, unsure = Decision(CONFIRMED, "a"), Decision(REFUTED, "b"), Decision(OPEN, "c", "one seed")
    assert decide_all([yes, yes]) == Decision(CONFIRMED, "a; a")
    assert decide_all([yes, unsure, unsure]) == Decision(OPEN, "a; c; c", "one seed")
    assert decide_all([yes, unsure, no]) == Decision(REFUTED, "a; c; b")


# Measurements


FACTS = {
    "test": {
        "accuracy": metric(0.9, higher=True, unit="", **{"always 1": 0.1}),
        "reconstruction_mse": metric(0.02, **{"mean sequence": 0.08}),
        "mse": metric(None, persistence=0.1),
    },
    "training": {"epochs": 4, "seconds": 10.0},
    "first step": {"rmse": metric(1.0, persistence=1.5)},
    "last step": {"rmse": metric(0.0, persistence=3.0), "movement": {"value": 0.25, "baselines": {}}},
}


@pytest.mark.parametrize(
    ("quantity", "value", "baseline"),
    [
        (findings.ACCURACY, 0.9, 0.1),
        (findings.ERROR, 0.02, 0.08),
        (findings.SHARE, 0.25, None),
        (findings.SECONDS, 2.5, None),
        (findings.LOSS, None, 0.1),
        (findings.DOLLARS, None, None),
        (findings.FIRST, 1.0, 1.5),
        (findings.FAR, None, 3.0),
        (findings.MOVES, 0.25, None),
        (findings.TREND, None, None),
    ],
)
def test_measured_values_of_a_run_and_its_baseline(
    quantity: Quantity, value: float | None, baseline: float | None
) -> None:
    assert measured_values(FACTS, quantity) == (value, baseline)


def test_steps_are_read_and_refused_if_damaged() -> None:
    run = made("a")
    (run.directory / STEPS_FILE).write_text(json.dumps({"first step": FACTS["first step"]}))
    assert read_facts(run) == run.metrics() | {"first step": FACTS["first step"]}
    (run.directory / STEPS_FILE).write_text("[]")
    with pytest.raises(DataError) as raised:
        read_facts(run)
    assert raised.value.code == Code.FILE_UNREADABLE


# Findings


def parts_of(level: str) -> list[Part]:
    return tour_parts(LEVELS[level], TourSources("digits.npz", None, ("IBM",)))


def configs_of(level: str) -> set[Config]:
    return {config for part in parts_of(level) for name in part.settings for config in part.configs(name, 0)}


@pytest.mark.parametrize("level", LEVELS)
def test_findings_refer_only_to_trained_settings(level: str) -> None:
    parts = parts_of(level)
    assert [part.key for part in parts] == [
        "toy",
        *(f"mnist-{name}" for name in ("reconstruction", "classification", "variants", "weights", "pixels")),
        *(f"snp-{name}" for name in ("reconstruction", "prediction", "last-day", "multistep", "window")),
    ]
    assert sum(len(part.findings) for part in parts) == 32
    for part in parts:
        assert {decision.verdict for decision in evaluate_part(part, (0, 1), {}).decisions.values()} == {OPEN}


def test_levels_train_fewer_settings_of_the_same_values() -> None:
    assert {level: len(configs_of(level)) for level in LEVELS} == {"smoke": 28, "short": 45, "full": 45}
    assert {config.epochs for config in configs_of("smoke")} == {1}
    signals = {level: [config for config in configs_of(level) if isinstance(config, Toy)] for level in LEVELS}
    for name in ("learning_rate", "units", "clip"):
        values = [{getattr(config, name) for config in signals[level]} for level in ("smoke", "full")]
        assert values[0] == values[1]


def facts_of(part: Part, name: str, values: dict[str, tuple[float, ...]]) -> dict[Config, JsonObject]:
    """Return facts in which a setting has values of measures, one per seed, and all others have the value 1."""
    facts: dict[Config, JsonObject] = {}
    for setting in sorted(part.settings, key=lambda each: each == name):
        for seed in (0, 1):
            for config in part.configs(setting, seed):
                row = {key: each[seed] if setting == name else 1.0 + seed / 1000 for key, each in values.items()}
                metrics = {key: metric(value, **{"mean sequence": 9.0}) for key, value in row.items()}
                facts[config] = {"test": metrics, "validation": metrics, "training": {"epochs": 1, "seconds": 1.0}}
    return facts


@pytest.mark.parametrize(
    ("key", "setting", "values", "verdicts"),
    [
        ("snp-window", "30 days", {"mse": (0.1, 0.101)}, [CONFIRMED]),
        ("snp-window", "30 days", {"mse": (2.0, 2.001)}, [REFUTED]),
        ("snp-window", "30 days", {"mse": (1.0, 1.001)}, [OPEN]),
        ("mnist-reconstruction", "reconstruction alone", {"reconstruction_mse": (0.8, 0.7)}, [CONFIRMED]),
        ("mnist-reconstruction", "reconstruction alone", {"reconstruction_mse": (1.8, 0.7)}, [OPEN]),
        ("mnist-variants", "V3: two autoencoders", {"accuracy": (1.5, 1.501)}, [CONFIRMED, REFUTED, CONFIRMED]),
        ("mnist-variants", "V2: head on the reconstruction", {"accuracy": (0.99, 0.99)}, [REFUTED, REFUTED, CONFIRMED]),
        ("mnist-variants", "V4 with two layers", {"accuracy": (0.9, 0.901)}, [REFUTED, REFUTED, REFUTED]),
    ],
)
def test_verdicts_on_the_findings_of_a_part(
    key: str, setting: str, values: dict[str, tuple[float, ...]], verdicts: list[str]
) -> None:
    (part,) = (part for part in parts_of("short") if part.key == key)
    facts = facts_of(part, setting, values)
    result = evaluate_part(part, (0, 1), facts)
    assert [decision.verdict for decision in result.decisions.values()] == verdicts
    # One seed decides nothing, nor does a missing run.
    for fewer, seeds in ((facts, (0,)), ({c: row for c, row in facts.items() if c.seed == 0}, (0, 1))):
        open_ones = evaluate_part(part, seeds, fewer).decisions.values()
        assert {decision.verdict for decision in open_ones} == {OPEN}


def test_settings_of_several_configs_have_their_geometric_mean() -> None:
    part = parts_of("full")[0]
    facts = facts_of(part, "clip 1", {"reconstruction_mse": (1e-4, 1e-4)})
    result = evaluate_part(part, (0, 1), facts)
    value, baseline = result.results["8 units", findings.TOY]
    # Half of the settings with 8 units have clip 1.
    assert value.values == pytest.approx((1e-2, 1e-2 * 1.001**0.5))
    assert baseline.values == pytest.approx((9.0, 9.0))
    assert result.decisions["a strong tendency of gradient_clip = 1 to be better"].verdict == CONFIRMED


# Trainings


HASHES = {"toy": "", "mnist": "a", "snp": "b"}


def test_shared_trainings_are_planned_once_by_config_and_data() -> None:
    parts = parts_of("full")
    planned = plan_tour(parts, (0, 1), Path("t"), HASHES)
    assert len(planned) == len({each.directory for each in planned}) == 2 * 45
    assert Counter(each.multistep for each in planned) == {False: 88, True: 2}
    other = plan_tour(parts, (0, 1), Path("t"), HASHES | {"snp": "c"})
    same = {each.directory for each in planned} & {each.directory for each in other}
    assert {directory.name.partition("-")[0] for directory in same} == {"toy", "mnist"}
    moved = tour_parts(LEVELS["full"], TourSources("elsewhere.npz", "p.csv", ("IBM",)))
    assert [each.directory for each in plan_tour(moved, (0, 1), Path("t"), HASHES)] == [e.directory for e in planned]


def test_finished_trainings_are_read() -> None:
    (first, second, third, *_) = plan_tour(parts_of("smoke")[:1], (0,), Path("t"), HASHES)
    made(str(first.directory), first.config)
    made(str(second.directory), second.config)
    (second.directory / "metrics.json").unlink()
    assert [each.finished for each in (first, second, third)] == [True, False, False]
    assert not first._replace(multistep=True).finished
    facts, missing = read_runs([first, second, third])
    assert set(facts) == {first.config}
    assert len(missing) == 2


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("report --tour --level long", 2),
        ("report --tour --out t.html", 2),
        ("report", 2),
        ("report --tour latest", 2),
        ("report latest --level full", 2),
        ("report --tour --prices none.csv", 3),
    ],
)
def test_invalid_tour_options_are_refused(line: str, code: int) -> None:
    refused(line, code)
    assert not Path("runs").exists()


@pytest.fixture
def toy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce the smoke tour to its first part and little data."""
    npz(Path("digits.npz"))
    small = LEVELS["smoke"]._replace(sequences=40, epochs=dict.fromkeys(LEVELS["smoke"].epochs, 1), digits=(60, 10))
    monkeypatch.setitem(LEVELS, "smoke", small)
    monkeypatch.setattr(findings, "_digits", lambda level, sources: ())
    monkeypatch.setattr(findings, "_prices", lambda level, sources: ())


@pytest.mark.slow
def test_interrupted_tour_resumes(toy_alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from lstm_ae import experiment

    real, trained = experiment.train, []

    def train(config: Any, data: Any, **details: Any) -> Any:
        trained.append(details["out"])
        if len(trained) == 4:
            raise KeyboardInterrupt
        return real(config, data, **details)

    monkeypatch.setattr(experiment, "train", train)
    line = "report --tour --digits digits.npz --out t"
    said = call(line)
    assert said.code == 130
    assert said.last.startswith("Interrupted; finished trainings are kept. Resume with: ")
    assert not Path("t/report.html").exists()
    said = done(f"{line} --json")
    assert len(trained) == 4 + 1
    assert trained[3] == trained[4]
    assert [finding["verdict"] for finding in json.loads(said.out)["findings"]] == [OPEN] * 4
    page = Page(Path("t/report.html").read_text())
    assert page.wrong == []
    assert "clip 1" in page.text
    trained.clear()
    done(line)
    assert trained == []


@pytest.mark.slow
def test_unfinished_run_of_other_versions_is_restarted(toy_alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tour_parts(LEVELS["smoke"], TourSources())
    (training, *_) = plan_tour(parts, (0,), Path("t"), HASHES)
    made(str(training.directory), training.config)
    (training.directory / "metrics.json").unlink()
    (training.directory / "leftover").touch()
    monkeypatch.setattr(runs, "installed_versions", lambda: {"lstm-ae": "other"})
    data = TourData(LEVELS["smoke"], Path("t"), "digits.npz", None)
    trainings.run_tour([training], data.load, "c", lambda _: None, lambda _: None)
    assert training.finished
    assert not (training.directory / "leftover").exists()
    assert Run(training.directory).about()["command"] == "c"


@pytest.mark.slow
def test_forecast_of_many_days_is_measured() -> None:
    config = Snp(symbols=("IBM",), start="2009-01-01", epochs=1, units=2, seeds=1)
    training = trainings.TourTraining("p", "s", config, Path("run"), multistep=True)
    load = load_study(config).load
    trainings.run_tour([training], load, "c", lambda _: None, lambda _: None)
    assert training.finished
    values = {each: measured_values(read_facts(Run(Path("run"))), each) for each in (findings.FIRST, findings.FAR)}
    (first, first_naive), (last, last_naive) = values.values()
    assert 0 < first < last
    assert 0 < first_naive < last_naive
    movement, _ = measured_values(read_facts(Run(Path("run"))), findings.MOVES)
    assert 0 < movement < 1


def test_smoke_tour_uses_a_subset_of_the_digits(toy_alone: None) -> None:
    found = TourData(LEVELS["smoke"], Path(), "digits.npz", None)
    assert found.sources.digits is not None
    assert not Path(found.sources.digits).exists()
    data = found.load(Mnist(data=found.sources.digits))
    assert [split.samples for split in (data.train, data.validation, data.test)] == [50, 10, 10]
    whole = all_digits.load(Mnist(data="digits.npz"))
    assert np.isin(data.test.series.reshape(10, -1), whole.test.series.reshape(whole.test.samples, -1)).all()
