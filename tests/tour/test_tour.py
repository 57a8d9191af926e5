"""Test the tour: the rules that decide findings, the runs it uses, and its page."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digit_makers import npz
from hypothesis import given
from hypothesis import strategies as st
from report_makers import Page, made, metric
from scipy import stats
from searches import call, done, refused

from lstm_ae import run as runs
from lstm_ae.config import Config, Mnist, Toy
from lstm_ae.data import digits as all_digits
from lstm_ae.errors import Code, DataError
from lstm_ae.json_types import JsonObject
from lstm_ae.run import Run
from lstm_ae.tour import findings, trainings
from lstm_ae.tour.decisions import (
    CONFIRMED,
    OPEN,
    REFUTED,
    Decision,
    SettingResult,
    decide_alike,
    decide_all,
    decide_better,
    decide_reached,
    welch_difference,
)
from lstm_ae.tour.evaluation import (
    baseline_value,
    evaluate_part,
    measured_value,
    read_facts,
)
from lstm_ae.tour.findings import Part, Quantity, TourSources, tour_parts
from lstm_ae.tour.levels import LEVELS
from lstm_ae.tour.trainings import FINISHED, MISSING, UNFINISHED, TourData, plan_tour, read_runs


def accurate(name: str, *values: float) -> SettingResult:
    return SettingResult(name, values, "%", higher=True)


def wrong(name: str, *values: float) -> SettingResult:
    return SettingResult(name, values, log=True)


# Decision rules


def test_welch_difference_matches_hand_calculation() -> None:
    # Means 2 and 5, variances 1 and 2, 3 and 2 seeds: error sqrt(1/3 + 2/2), degrees of freedom
    # (4/3)^2 / ((1/3)^2 / 2 + 1) = 1.684.
    found = welch_difference(accurate("a", 1, 2, 3), accurate("b", 4, 6))
    assert found is not None
    assert found.value == -3
    error, freedom = math.sqrt(4 / 3), (16 / 9) / (1 / 18 + 1)
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.95, freedom) * error)
    assert found.p == pytest.approx(stats.ttest_ind([1, 2, 3], [4, 6], equal_var=False).pvalue)


def test_welch_difference_compares_errors_as_logarithms() -> None:
    found = welch_difference(wrong("a", 1e-4, 1e-4), wrong("b", 1e-2, 1e-2))
    assert found is not None
    assert found == (pytest.approx(2), pytest.approx(2), pytest.approx(2), 0)


V3, V2 = accurate("V3", 0.971, 0.973, 0.969), accurate("V2", 0.943, 0.939, 0.947)
BASE, ALIKE = accurate("b", 0.95, 0.9505), accurate("a", 0.981, 0.982, 0.983)
BASELINE = wrong("persistence", 2e-4)


@pytest.mark.parametrize(
    ("decision", "verdict"),
    [
        (decide_better(V3, V2), CONFIRMED),
        (decide_better(V2, V3), REFUTED),
        (decide_better(accurate("a", 0.5, 0.7), accurate("b", 0.4, 0.65)), OPEN),
        (decide_better(accurate("a", 0.4, 0.4), accurate("b", 0.4, 0.4)), OPEN),
        (decide_better(accurate("a", 0.97, 0.971), BASE, by=0.01), CONFIRMED),
        (decide_better(accurate("a", 0.955, 0.956), BASE, by=0.01), REFUTED),
        (decide_better(accurate("a", 0.9595, 0.961), BASE, by=0.01), OPEN),
        (decide_alike(ALIKE, accurate("b", 0.981, 0.982, 0.983), 0.005), CONFIRMED),
        (decide_alike(ALIKE, accurate("b", 0.951, 0.952, 0.953), 0.005), REFUTED),
        (decide_alike(ALIKE, accurate("b", 0.970, 0.980, 0.990), 0.005), OPEN),
        (decide_alike(wrong("a", 1e-3, 1.1e-3), wrong("b", 1.1e-3, 1.2e-3), 2), CONFIRMED),
        (decide_alike(wrong("a", 1e-3, 1.01e-3), wrong("b", 9e-3, 9.1e-3), 2), REFUTED),
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
        (decide_reached(accurate("pixels", 0.11, 0.13), 0.2, whole=False, reverse=True), OPEN),
        (decide_reached(accurate("pixels", 0.97), 0.2, whole=False, reverse=True), REFUTED),
    ],
    ids=str,
)
def test_findings_are_decided_by_significance(decision: Decision, verdict: str) -> None:
    assert decision.verdict == verdict


def test_decision_states_its_figures() -> None:
    assert decide_better(V3, V2).figures == "97.10% ± 0.20 (V3) against 94.30% ± 0.40 (V2) over 3 seeds, p = 0.0018"
    judged = decide_reached(wrong("LSTM", 2.5e-4), 3e-4, whole=True, baseline=BASELINE)
    assert judged.figures == "0.00025 (LSTM), the threshold is 0.0003, the baseline persistence has 0.0002"


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [((0.9,), (0.1,), "one seed is not enough"), ((), (0.1, 0.2), "a value is missing")],
)
def test_comparisons_with_one_seed_are_not_decidable(
    ours: tuple[float, ...], theirs: tuple[float, ...], why: str
) -> None:
    one, other = accurate("a", *ours), accurate("b", *theirs)
    for judged in (decide_better(one, other), decide_alike(one, other, 0.5)):
        assert (judged.verdict, judged.why) == (OPEN, why)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (wrong("a", 1e-5, 1.4e-5), "1.2e−5 ± 2.8e−6"),
        (accurate("a", 1e-5, 3e-5), "0.002%"),
        (accurate("a", 0.0, 0.0), "0.00% ± 0.00"),
    ],
)
def test_results_are_formatted_with_their_spread(result: SettingResult, text: str) -> None:
    assert str(result) == text


def test_decide_all_combines_decisions() -> None:
    yes, no, unsure = Decision(CONFIRMED, "a"), Decision(REFUTED, "b"), Decision(OPEN, "c", "one seed")
    assert decide_all([yes, yes]) == Decision(CONFIRMED, "a; a")
    assert decide_all([yes, unsure, unsure]) == Decision(OPEN, "a; c; c", "one seed")
    assert decide_all([yes, unsure, no]) == Decision(REFUTED, "a; c; b")
    assert str(unsure) == "c: not decidable, since one seed"


shares = st.lists(st.floats(0.01, 0.99), min_size=2, max_size=4).map(tuple)


@given(shares, shares)
def test_decide_better_is_antisymmetric(ours: tuple[float, ...], theirs: tuple[float, ...]) -> None:
    turned = {CONFIRMED: REFUTED, REFUTED: CONFIRMED, OPEN: OPEN}
    there, back = (
        decide_better(accurate("a", *ours), accurate("b", *theirs)),
        decide_better(accurate("b", *theirs), accurate("a", *ours)),
    )
    assert back.verdict == turned[there.verdict]
    # For errors, lower is better.
    assert decide_better(SettingResult("a", ours), SettingResult("b", theirs)).verdict == back.verdict
    assert decide_better(accurate("a", *ours), accurate("a", *ours)).verdict == OPEN


# Measurements


FACTS = {
    "test": {
        "accuracy": metric(0.9, higher=True, unit="", **{"always 1": 0.1}),
        "reconstruction_mse": metric(0.02, **{"mean sequence": 0.08}),
        "mse": metric(None, persistence=0.1),
    },
    "training": {"epochs": 4, "seconds": 10.0},
    "steps": {
        "rmse": [1.0, 2.0],
        "rmse of persistence": [1.5, 3.0],
        "moved": [0.0, 0.5],
        "moved_truth": [0.0, 2.0],
    },
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
        (findings.FAR, 2.0, 3.0),
        (findings.MOVES, 0.25, None),
        (findings.TREND, None, None),
    ],
)
def test_measured_and_baseline_values_of_a_run(quantity: Quantity, value: float | None, baseline: float | None) -> None:
    assert measured_value(FACTS, quantity) == value
    if quantity is not findings.TREND:
        assert baseline_value(FACTS, quantity) == baseline


def test_steps_table_is_read_and_refused_if_damaged() -> None:
    run = made("a")
    run.write_table("steps", {"step": [1, 2], "rmse": [0.5, None]})
    steps = read_facts(run)["steps"]
    assert steps["rmse"][0] == 0.5
    assert math.isnan(steps["rmse"][1])
    Path("a/steps.csv").write_text("step,rmse\n1,x\n")
    with pytest.raises(DataError) as raised:
        read_facts(run)
    assert raised.value.code == Code.RUN_DAMAGED


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
        asked = set()

        def numbers(name: str, quantity: Quantity, baseline: bool, asked: set[str] = asked) -> SettingResult:
            asked.add(name)
            return SettingResult(name, ())

        rules = [rule for rules in part.findings.values() if not isinstance(rules, str) for rule in rules]
        assert {rule(numbers, True).verdict for rule in rules} == {OPEN}
        assert asked <= set(part.settings)


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
        (
            "mnist-variants",
            "V2: head on the reconstruction",
            {"accuracy": (0.99, 0.991)},
            [REFUTED, REFUTED, CONFIRMED],
        ),
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
    (value, baseline), *_ = result.rows["8 units"]
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


def test_states_of_trainings() -> None:
    (first, second, third, *_) = plan_tour(parts_of("smoke")[:1], (0,), Path("t"), HASHES)
    made(str(first.directory), first.config)
    made(str(second.directory), second.config)
    (second.directory / "metrics.json").unlink()
    assert [each.state for each in (first, second, third)] == [FINISHED, UNFINISHED, MISSING]
    assert first._replace(multistep=True).state == UNFINISHED
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
    assert list(trainings.run_tour([training], data.load, "c", lambda _: None, lambda _: None)) == []
    assert training.state == FINISHED
    assert not (training.directory / "leftover").exists()
    assert Run(training.directory).about()["command"] == "c"


def test_smoke_tour_uses_a_subset_of_the_digits(toy_alone: None) -> None:
    found = TourData(LEVELS["smoke"], Path(), "digits.npz", None)
    assert found.sources.digits is not None
    assert not Path(found.sources.digits).exists()
    data = found.load(Mnist(data=found.sources.digits))
    assert [split.samples for split in (data.train, data.validation, data.test)] == [50, 10, 10]
    whole = all_digits.load(Mnist(data="digits.npz"))
    assert np.isin(data.test.series.reshape(10, -1), whole.test.series.reshape(whole.test.samples, -1)).all()
