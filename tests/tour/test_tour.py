"""Test the tour: the rules that decide findings, the runs it uses, and its page."""

import contextlib
import dataclasses
import itertools
import json
import math
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from digit_makers import npz
from hypothesis import given
from hypothesis import strategies as st
from lstm_ae_cli.report import _progress_printer
from report_makers import HOSTILE, Page, changed, made, metric, picture
from scipy import stats
from searches import call, refused

from lstm_ae import significance
from lstm_ae.config import Config, Mnist, Toy
from lstm_ae.data import digits as all_digits
from lstm_ae.errors import ConfigError, DataError, LstmAeError
from lstm_ae.significance import (
    CONFIRMED,
    OPEN,
    REFUTED,
    Decision,
    SettingResult,
    decide_alike,
    decide_all,
    decide_better,
    decide_compromise,
    decide_missed,
    decide_reached,
)
from lstm_ae.tour import digits, runs, stocks, toy
from lstm_ae.tour.claims import BASELINE, TourClaim, TourData, TourPart, TourSetting
from lstm_ae.tour.claims import reaches as reaching
from lstm_ae.tour.commands import training_command
from lstm_ae.tour.data import choose_companies
from lstm_ae.tour.levels import LEVELS, TourLevel, find_level
from lstm_ae.tour.measurements import MeasuredRun, TourQuantity, baseline_value, measured_value, read_run_facts
from lstm_ae.tour.page import render_tour
from lstm_ae.tour.results import read_results
from lstm_ae.tour.runs import MISSING, OUTDATED, THERE, UNFINISHED, TourTraining, plan_tour


def accurate(name: str, *values: float) -> SettingResult:
    return SettingResult(name, values, "%", higher=True)


def wrong(name: str, *values: float) -> SettingResult:
    return SettingResult(name, values, log=True)


# Decision rules


def test_welch_difference_matches_hand_calculation() -> None:
    # Means 2 and 5, variances 1 and 2, 3 and 2 seeds: error sqrt(1/3 + 2/2), degrees of freedom
    # (4/3)^2 / ((1/3)^2 / 2 + 1) = 1.684.
    found = significance.welch_difference(accurate("a", 1, 2, 3), accurate("b", 4, 6))
    assert found is not None
    assert found.value == -3
    error, freedom = math.sqrt(4 / 3), (16 / 9) / (1 / 18 + 1)
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.95, freedom) * error)
    assert found.p == pytest.approx(stats.ttest_ind([1, 2, 3], [4, 6], equal_var=False).pvalue)


def test_welch_difference_compares_errors_as_logarithms() -> None:
    found = significance.welch_difference(wrong("a", 1e-4, 1e-4), wrong("b", 1e-2, 1e-2))
    assert found is not None
    assert found == (pytest.approx(2), pytest.approx(2), pytest.approx(2), 0)


def test_decide_better_confirms_and_refutes() -> None:
    v3, v2 = accurate("V3", 0.971, 0.973, 0.969), accurate("V2", 0.943, 0.939, 0.947)
    assert decide_better(v3, v2) == Decision(
        CONFIRMED, "97.10% ± 0.20 (V3) against 94.30% ± 0.40 (V2) over 3 seeds, p = 0.0018"
    )
    assert decide_better(v2, v3).verdict == REFUTED


@pytest.mark.parametrize(
    ("ours", "verdict", "end"),
    [
        ((0.97, 0.971), CONFIRMED, "by at least 1 point"),
        ((0.955, 0.956), REFUTED, "by less than 1 point"),
        ((0.9595, 0.961), OPEN, "includes 1 point"),
        ((0.93, 0.931), REFUTED, "by less than 1 point"),
        ((0.949, 0.951), REFUTED, "by less than 1 point"),
    ],
)
def test_decide_better_by_a_margin(ours: tuple[float, ...], verdict: str, end: str) -> None:
    judged = decide_better(accurate("a", *ours), accurate("b", 0.95, 0.9505), by=0.01)
    assert judged.verdict == verdict, str(judged)
    assert str(judged).endswith(end) or judged.figures.endswith(end)


def test_decide_better_is_open_without_significance() -> None:
    judged = decide_better(accurate("a", 0.5, 0.7), accurate("b", 0.4, 0.65))
    assert (judged.verdict, judged.why) == (OPEN, "p is not below 0.05")


@pytest.mark.parametrize(
    ("ours", "theirs", "end"),
    [((0.9,), (0.1,), "one seed is not enough"), ((), (0.1, 0.2), "a value is missing")],
)
def test_comparisons_with_one_seed_are_not_decidable(
    ours: tuple[float, ...], theirs: tuple[float, ...], end: str
) -> None:
    for judged in (
        decide_better(accurate("a", *ours), accurate("b", *theirs)),
        decide_alike(accurate("a", *ours), accurate("b", *theirs), 0.5),
        decide_compromise([accurate("a", *ours)], [[accurate("b", *theirs)]]),
    ):
        assert (judged.verdict, judged.why) == (OPEN, end)


def test_decide_better_with_identical_seeds() -> None:
    assert decide_better(accurate("a", 0.5, 0.5), accurate("b", 0.4, 0.4)).verdict == CONFIRMED
    assert decide_better(accurate("a", 0.4, 0.4), accurate("b", 0.4, 0.4)).verdict == OPEN


@pytest.mark.parametrize(
    ("theirs", "verdict", "end"),
    [
        ((0.981, 0.982, 0.983), CONFIRMED, "equivalent within 0.5 points"),
        ((0.951, 0.952, 0.953), REFUTED, "more than 0.5 points apart"),
        ((0.970, 0.980, 0.990), OPEN, "the 90% interval of the difference extends beyond 0.5 points"),
    ],
)
def test_decide_alike_within_a_margin(theirs: tuple[float, ...], verdict: str, end: str) -> None:
    judged = decide_alike(accurate("a", 0.981, 0.982, 0.983), accurate("b", *theirs), 0.005)
    assert (judged.verdict, (judged.why or judged.figures).endswith(end)) == (verdict, True)


def test_decide_alike_within_a_factor() -> None:
    assert decide_alike(wrong("a", 1e-3, 1.1e-3), wrong("b", 1.1e-3, 1.2e-3), 2).verdict == CONFIRMED
    judged = decide_alike(wrong("a", 1e-3, 1.01e-3), wrong("b", 9e-3, 9.1e-3), 2)
    assert (judged.verdict, "more than a factor of 2 apart" in judged.figures) == (REFUTED, True)


@pytest.mark.parametrize(
    ("values", "whole", "verdict"),
    [
        ((0.99,), True, CONFIRMED),
        ((0.98,), False, CONFIRMED),
        ((0.97,), True, REFUTED),
        ((0.97,), False, OPEN),
        ((0.97, 0.99), True, OPEN),
        ((), True, OPEN),
    ],
)
def test_decide_reached_requires_every_seed(values: tuple[float, ...], whole: bool, verdict: str) -> None:
    assert decide_reached(accurate("V4", *values), 0.98, whole=whole).verdict == verdict


def test_decide_reached_requires_beating_the_baseline() -> None:
    baseline = wrong("persistence", 2e-4)
    judged = decide_reached(wrong("LSTM", 2.5e-4), 3e-4, whole=True, baseline=baseline)
    assert judged == Decision(REFUTED, "0.00025 (LSTM), the threshold is 0.0003, the baseline persistence has 0.0002")
    assert decide_reached(wrong("LSTM", 1e-4), 3e-4, whole=True, baseline=baseline).verdict == CONFIRMED


def test_decide_missed_reverses_decide_reached() -> None:
    assert decide_missed(accurate("pixels", 0.11, 0.13), 0.2, whole=True).verdict == CONFIRMED
    assert decide_missed(accurate("pixels", 0.11, 0.13), 0.2, whole=False).verdict == OPEN
    assert decide_missed(accurate("pixels", 0.97), 0.2, whole=False).verdict == REFUTED


def test_decide_compromise_compares_both_quantities() -> None:
    def setting(name: str, accuracy: float, error: float) -> list[SettingResult]:
        # Two seeds with a small difference.
        return [accurate(name, accuracy, accuracy + 1e-3), wrong(name, error, error * 1.001)]

    half, sharp, fine = setting("0.5", 0.9, 1e-3), setting("0.1", 0.95, 1e-2), setting("0.9", 0.8, 1e-4)
    # If settings trade accuracy for error, each of them is a possible compromise, also the extreme ones.
    for middle, others in ((half, [sharp, fine]), (sharp, [half, fine]), (fine, [half, sharp])):
        judged = decide_compromise(middle, others)
        assert judged.verdict == OPEN
        assert judged.why.startswith("not significantly better or worse in both: ")
    judged = decide_compromise(half, [setting("0.1", 0.8, 1e-2), setting("0.9", 0.7, 1e-1)])
    assert (judged.verdict, judged.figures.endswith("each of the other 2 is worse in both")) == (CONFIRMED, True)
    judged = decide_compromise(half, [sharp, setting("0.7", 0.95, 1e-4)])
    assert (judged.verdict, judged.figures.endswith("better in both: 0.7")) == (REFUTED, True)
    judged = decide_compromise(half, [sharp, setting("0.4", 0.9, 1e-3)])
    assert (judged.verdict, judged.why) == (OPEN, "not significantly better or worse in both: 0.1, 0.4")


def test_decide_compromise_requires_every_value() -> None:
    half, none = accurate("0.5", 0.9, 0.9), accurate("0.1")
    assert decide_compromise([half], [[none]]).why == "a value is missing"
    assert str(wrong("a", 1e-5, 1.4e-5)) == "1.2e−5 ± 2.8e−6"


def test_setting_result_formats_small_percentages() -> None:
    assert str(SettingResult("a", (1e-5, 3e-5), "%")) == "0.002%"
    assert str(SettingResult("a", (0.0, 0.0), "%")) == "0.00% ± 0.00"


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


METRICS = {
    "test": {
        "accuracy": metric(0.9, higher=True, unit="", **{"always 1": 0.1}),
        "reconstruction_mse": metric(0.02, **{"mean sequence": 0.08}),
        "mse": metric(None, persistence=0.1),
    },
    "training": {"epochs": 4, "seconds": 10.0},
}
STEPS = {
    "step": [1.0, 2.0],
    "rmse": [1.0, 2.0],
    "rmse of persistence": [1.5, 3.0],
    "moved": [0.0, 0.5],
    "moved_truth": [0.0, 2.0],
}


@pytest.mark.parametrize(
    ("quantity", "value", "baseline"),
    [
        (digits.ACCURACY, 0.9, 0.1),
        (digits.ERROR, 0.02, 0.08),
        (digits.SHARE, 0.25, None),
        (digits.SECONDS, 2.5, None),
        (stocks.LOSS, None, 0.1),
        (stocks.DOLLARS, None, None),
        (stocks.FIRST, 1.0, 1.5),
        (stocks.FAR, 2.0, 3.0),
        (stocks.MOVES, 0.25, None),
    ],
)
def test_measured_and_baseline_values_of_a_run(
    quantity: TourQuantity, value: float | None, baseline: float | None
) -> None:
    facts = MeasuredRun(METRICS, STEPS)
    assert measured_value(facts, quantity) == value
    assert baseline_value(facts, quantity) == baseline


def test_measured_values_without_steps_are_missing() -> None:
    assert measured_value(MeasuredRun(METRICS, None), stocks.MOVES) is None
    assert measured_value(MeasuredRun(METRICS, {}), stocks.FAR) is None


def test_steps_table_is_read_and_refused_if_damaged() -> None:
    run = made("a")
    run.write_table("steps", {"step": [1, 2], "rmse": [0.5, None]})
    steps = read_run_facts(run).steps
    assert steps is not None
    assert steps["rmse"][0] == 0.5
    assert math.isnan(steps["rmse"][1])
    Path("a/steps.csv").write_text("step,rmse\n1,x\n")
    with pytest.raises(DataError, match=r"steps\.csv' is damaged. Delete it"):
        read_run_facts(run)


# Parts of the tour


def every_part(level: TourLevel) -> list[TourPart]:
    ground = TourData("digits.npz", None, ("IBM",), whole_digits=False)
    return [part for module in (toy, digits, stocks) for part in module.parts(level, ground)]


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
def test_tour_claims_refer_only_to_trained_settings(level: TourLevel) -> None:
    parts = every_part(level)
    assert len({part.key for part in parts}) == len(parts) == 12
    for part in parts:
        names = [setting.name for setting in part.settings]
        assert len(set(names)) == len(names)
        assert not part.shown_setting or part.shown_setting in names
        asked = set()

        def numbers(name: str, quantity: TourQuantity, asked: set[str] = asked) -> SettingResult:
            asked.add(name.removeprefix(BASELINE))
            return SettingResult(name, (0.5, 0.6), quantity.unit, quantity.higher, quantity.log)

        for claim in part.claims:
            assert claim.rule(numbers).verdict in (CONFIRMED, REFUTED, OPEN)
            assert claim.rule_text.endswith(".")
        assert asked <= set(names)


def test_tour_parts_have_the_order_of_the_source_report() -> None:
    assert [part.key for part in every_part(LEVELS["smoke"])] == [
        "toy",
        *(f"mnist-{name}" for name in ("reconstruction", "classification", "variants", "weights", "pixels")),
        *(f"snp-{name}" for name in ("data", "reconstruction", "prediction", "last-day", "multistep", "window")),
    ]


def trainings(level: str) -> set[Config]:
    return {config for part in every_part(LEVELS[level]) for each in part.settings for config in each.configs}


def test_smoke_level_trains_each_grid_value_in_few_settings() -> None:
    assert {level: len(trainings(level)) for level in LEVELS} == {"smoke": 28, "short": 45, "full": 45}
    assert {config.epochs for config in trainings("smoke")} == {1}
    signals = {level: [config for config in trainings(level) if isinstance(config, Toy)] for level in LEVELS}
    for name in ("learning_rate", "units", "clip"):
        values = [{getattr(config, name) for config in signals[level]} for level in ("smoke", "full")]
        assert values[0] == values[1]


def test_tour_levels_and_their_seeds() -> None:
    assert find_level("full").whole
    assert [len(level.seeds) for level in LEVELS.values()] == [1, 2, 3]
    with pytest.raises(ConfigError, match="--level must be one of smoke, short, full"):
        find_level("long")


@pytest.mark.parametrize(
    ("names", "most", "chosen"),
    [
        ("AAPL IBM", 3, ()),
        ("A AAPL B C D", 3, ("AAPL", "A", "D")),
        ("A B C D E", 3, ("A", "C", "E")),
        ("A B C", None, ()),
    ],
)
def test_choose_companies_up_to_a_limit(names: str, most: int | None, chosen: tuple[str, ...]) -> None:
    assert choose_companies(tuple(names.split()), most) == chosen


class Captured(LstmAeError):
    """Raised after a command has parsed its config."""


def test_training_commands_reproduce_the_tour_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands on the page train the same configs as the tour."""
    from lstm_ae_cli import training
    from lstm_ae_cli.app import command as root_command

    caught: list[tuple[Config, Path | None]] = []

    def capture(config: Config, console: Any, *, out: Path | None, **_: Any) -> None:
        caught.append((config, out))
        raise Captured

    monkeypatch.setattr(training, "train", capture)
    command = root_command()
    for config in trainings("smoke"):
        with pytest.raises(Captured):
            command(shlex.split(training_command(config, Path("a b")))[1:], standalone_mode=False)
        assert caught.pop() == (config, Path("a b"))


# Existing runs


SMALL = Toy(sequences=20, epochs=1)
OTHER = Toy(sequences=20, epochs=1, units=2)
LOSS = toy.LOSS
PART = TourPart(
    key="toy",
    title="A signal",
    section="Part 1",
    text="The signal is reconstructed.",
    settings=(TourSetting("one", (SMALL,), 0.25), TourSetting("both", (SMALL, OTHER))),
    quantities=(LOSS,),
    claims=(TourClaim("it works", reaching("one", LOSS, 0.3, whole=True), "Confirmed where it comes to 0.3."),),
    shown_setting="one",
    figures=("reconstruction",),
)


def planned(
    parts: tuple[TourPart, ...] = (PART,), seeds: tuple[int, ...] = (0,), folder: str = "t"
) -> list[TourTraining]:
    return plan_tour(parts, seeds, Path(folder), lambda config: "abc")


def run_of(where: str, config: Config, loss: float, **more: Any) -> Any:
    return made(where, config, validation={"reconstruction_mse": metric(loss, **{"mean sequence": 0.5})}, **more)


def test_training_shared_by_two_settings_is_planned_once() -> None:
    legs = planned(seeds=(0, 1))
    assert [(leg.config.units, leg.config.seed, leg.draws_figures) for leg in legs] == [  # type: ignore[attr-defined]
        (16, 0, True),
        (16, 1, False),
        (2, 0, False),
        (2, 1, False),
    ]
    assert len({leg.directory for leg in legs}) == 4
    assert {leg.state for leg in legs} == {MISSING}


def test_plan_finds_runs_by_config_and_data() -> None:
    made("t/mine", dataclasses.replace(SMALL, sequences=20))
    made("t/of-other-data", OTHER, sha="other")
    one, two = planned()
    assert (one.state, one.directory) == (THERE, Path("t/mine"))
    assert (two.state, two.directory) == (MISSING, Path("t/toy-01-seed-0"))


def test_plan_ignores_the_path_of_the_data() -> None:
    made("t/mine", Mnist(data="here.npz"))
    part = PART._replace(settings=(TourSetting("one", (Mnist(data="there.npz"),)),))
    assert [leg.state for leg in planned((part,))] == [THERE]


def test_plan_resumes_unfinished_runs_and_skips_damaged_runs() -> None:
    made("t/toy-01-seed-0", SMALL)
    Path("t/toy-01-seed-0/metrics.json").unlink()
    made("t/toy-02-seed-0", OTHER)
    Path("t/toy-02-seed-0/metrics.json").write_text("{")
    one, two = planned()
    assert (one.state, one.directory.name) == (UNFINISHED, "toy-01-seed-0")
    assert (two.state, two.directory.name) == (MISSING, "toy-03-seed-0")


def test_unfinished_run_of_other_versions_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later call cannot resume its training state."""
    for where, config in (("t/toy-01-seed-0", SMALL), ("t/done", OTHER)):
        run = made(where, config)
        about = run.about()
        about["versions"]["tensorflow"] = "2.0"
        (run.directory / "config.json").write_text(json.dumps(about))
    Path("t/toy-01-seed-0/metrics.json").unlink()
    Path("t/toy-01-seed-0/state.npz").write_text("of old")
    one, two = legs = planned()
    assert (one.state, one.directory.name) == (OUTDATED, "toy-01-seed-0")
    assert two.state == THERE
    from lstm_ae import experiment

    def trained(config: Config, data: Any, *, out: Path, **_: Any) -> None:
        assert not out.exists()
        made(str(out), config)

    monkeypatch.setattr(experiment, "train", trained)
    monkeypatch.setattr(experiment, "resume", None)
    said: list[str] = []
    bar = SimpleNamespace(clear=lambda: None)
    told = _progress_printer(SimpleNamespace(say=said.append), bar)
    assert runs.run_tour(legs, lambda config: None, told) == []  # type: ignore[arg-type,return-value]
    assert said == [
        "training 1 of 1: toy, one, seed 0, restarted: it was started with other versions and cannot resume"
    ]
    assert [leg.state for leg in planned()] == [THERE, THERE]
    # Running the outdated plan again, as after an interruption, does not train a finished run.
    assert runs.run_tour(legs, lambda config: None, told) == []  # type: ignore[arg-type,return-value]


def test_plan_reuses_directory_of_a_training_killed_at_its_start() -> None:
    Path("t/toy-01-seed-0").mkdir(parents=True)
    Path("t/toy-01-seed-0/.config.json.12345678.part").write_text("{")
    assert [leg.directory.name for leg in planned()] == ["toy-01-seed-0", "toy-02-seed-0"]


def test_tour_trains_only_missing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from lstm_ae import experiment

    made("t/mine", SMALL)
    done = []
    monkeypatch.setattr(experiment, "train", lambda config, data, **details: done.append((config, details["out"])))
    events: list[runs.TourProgress] = []
    assert runs.run_tour(planned(), lambda config: None, events.append) == []  # type: ignore[arg-type,return-value]
    assert done == [(OTHER, Path("t/toy-01-seed-0"))]
    assert [(event.number, event.total) for event in events] == [(1, 1)]


# Page


def page_of(parts: tuple[TourPart, ...], level: str = "smoke", seeds: tuple[int, ...] = (0,), **details: Any) -> Page:
    legs = planned(parts, seeds)
    told = read_results(parts, seeds, legs)
    return Page(
        render_tour(told, legs, Path("t"), LEVELS[level], command="lstmae report", written="today", **details).html
    )


def test_tour_page_shows_findings_commands_and_tables() -> None:
    run_of("t/a", SMALL, 0.25), run_of("t/b", OTHER, 0.01)
    page = page_of((PART,))
    for sentence in (
        "Smoke test: a small subset of the data",
        "Smoke test: the values are not comparable",
        "1 findings: 0 confirmed, 0 not confirmed, 1 not decidable; 2 trainings.",
        "“it works”: 0.25 (one), the threshold is 0.3, the baseline mean sequence has 0.5: ? not decidable , since one "
        "seed is not enough.",
        "Data of the trainings (",
        "lstmae toy train --epochs 1 --sequences 20 --out t/a",
        "lstmae toy plot --run t/a",
        "one 0.25 0.25 0.5",  # values of the report, the run, and the baseline
        "both - 0.05 0.5",  # the geometric mean of 0.25 and 0.01
        "of each setting: one: 0.25, in the source report 0.25, mean sequence 0.5; both: 0.05",
        "Setting: “one”, seed 0.",
    ):
        assert sentence in page.text, sentence
    assert [each["alt"] for each in page.all("img")] == ["reconstruction: Test samples and their reconstructions."]


def test_verdict_requires_every_seed() -> None:
    """One of two seeds is missing."""
    for seed, place in ((0, "t/a"), (1, "t/c")):
        run_of(place, dataclasses.replace(SMALL, seed=seed), 0.25)
    run_of("t/b", OTHER, 0.01)
    assert "✓ confirmed" in page_of((PART,), "full", (0, 1)).text
    shutil.rmtree("t/c")
    assert "? not decidable , since only 1 of 2 seeds finished." in page_of((PART,), "full", (0, 1)).text


def test_full_tour_page_has_no_smoke_test_notes() -> None:
    run_of("t/a", SMALL, 0.25), run_of("t/b", OTHER, 0.01)
    assert "moke" not in page_of((PART,), "full").text


def test_tour_page_reports_missing_trainings() -> None:
    run_of("t/a", SMALL, 0.25)
    page = page_of((PART,))
    assert "Some content is missing. both, seed 0:" in page.text
    assert "; 1 of 2 trainings." in page.text
    assert re.search(r"both - - -", page.text)


def test_tour_page_shows_the_spread_over_seeds() -> None:
    for seed, loss in ((0, 0.2), (1, 0.4)):
        run_of(f"t/a{seed}", dataclasses.replace(SMALL, seed=seed), loss)
        run_of(f"t/b{seed}", dataclasses.replace(OTHER, seed=seed), loss)
    page = page_of((PART,), "short", (0, 1))
    assert "“it works”: 0.3 ± 0.14 (one), the threshold is 0.3" in page.text
    assert "over 2 seeds: ? not decidable , since the seeds disagree." in page.text


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    with contextlib.chdir(tmp_path_factory.mktemp("hostile")):
        run = run_of(f"t/{HOSTILE.replace('/', '')}", SMALL, 0.25, words=HOSTILE)
        run_of("t/b", OTHER, 0.25)
        path = run.directory / "config.json"
        changed(path, data=json.loads(path.read_text())["data"] | {"leaky": HOSTILE})
        claim = TourClaim(HOSTILE, PART.claims[0].rule, HOSTILE)
        settings = (TourSetting(HOSTILE, (SMALL,), 0.25), *PART.settings)
        part = PART._replace(title=HOSTILE, text=HOSTILE, claims=(claim,), settings=settings, data_config=SMALL)
        Path("t/figures").mkdir()
        Path("t/figures/toy-data.png").write_bytes(picture())
        return page_of((part, PART._replace(key="again")), notes=(HOSTILE,))


def test_tour_page_escapes_html_from_files(hostile: Page) -> None:
    assert not hostile.all("script")
    assert not hostile.all("b")
    assert not [name for _, attributes in hostile.elements for name in attributes if name.startswith("on")]
    assert hostile.text.count(HOSTILE) > 8


def test_tour_page_is_valid_accessible_and_self_contained(hostile: Page) -> None:
    assert hostile.wrong == []
    names = [attributes["id"] for _, attributes in hostile.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    for key in ("aria-labelledby", "href"):
        for _, attributes in hostile.elements:
            assert {name.removeprefix("#") for name in (attributes.get(key) or "").split()} <= set(names)
    assert all((attributes.get("src") or "data:").startswith("data:") for _, attributes in hostile.elements)
    assert set(re.findall(r"https?://[\w.]+", hostile.html)) <= {"http://www.w3.org"}
    levels = [int(tag[1]) for tag, _ in hostile.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all("scope" in each for each in hostile.all("th"))
    assert all(each["alt"] for each in hostile.all("img"))


def test_tour_page_names_figures_over_the_size_limit() -> None:
    run_of("t/a", SMALL, 0.25), run_of("t/b", OTHER, 0.01)
    assert "The figure reconstruction exceeds the size limit" in page_of((PART,), max_figure_bytes=10).text


def test_tour_page_shows_the_command_of_the_data_figure() -> None:
    run_of("t/a", SMALL, 0.25), run_of("t/b", OTHER, 0.01)
    Path("t/figures").mkdir()
    Path("t/figures/toy-data.png").write_bytes(picture())
    text = page_of((PART._replace(data_config=SMALL),)).text
    assert "lstmae toy data --epochs 1 --sequences 20 --figure t/figures/toy-data.png" in text


# Command


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("report", "Pass runs to report on, or --tour for the whole source report. Received: neither"),
        ("report a --tour", "Pass runs to report on, or --tour for the whole source report. Received: both"),
        ("report a --level short", "--level is for --tour; leave it out"),
        ("report a --dry-run", "--dry-run is for --tour; leave it out"),
        ("report --tour --level long", "--level must be one of smoke, short, full. Received: 'long'"),
        ("report --tour --out a.html", "--out must be a directory with --tour"),
        ("report --tour --out full", "--out 'full' is not empty and contains no tour.json"),
    ],
)
def test_invalid_tour_options_are_refused(line: str, said: str) -> None:
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    assert refused(line, 2).startswith(said)


@pytest.mark.parametrize("option", [pytest.param("--digits", marks=pytest.mark.exhaustive), "--prices"])
def test_invalid_tour_data_is_refused(option: str) -> None:
    npz(Path("digits.npz"))
    Path("other").write_text("nothing")
    beside = "" if option == "--digits" else "--digits digits.npz"
    assert "other" in refused(f"report --tour {beside} {option} other", 3)


@pytest.fixture
def toy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce the smoke tour to its first part and little data."""
    npz(Path("digits.npz"))
    small = LEVELS["smoke"]._replace(sequences=40, epochs=dict.fromkeys(LEVELS["smoke"].epochs, 1), digits=(60, 10))
    monkeypatch.setitem(LEVELS, "smoke", small)
    for module in (digits, stocks):
        monkeypatch.setattr(module, "parts", lambda level, ground: ())


def test_tour_dry_run_lists_the_trainings_and_writes_no_files(toy_alone: None) -> None:
    before = set(Path().rglob("*"))
    said = call("report --tour --dry-run --digits digits.npz --json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert (found["missing"], found["there"], found["epochs_to_train"]) == (4, 0, 4)
    assert found["trainings"][0]["run"] == "runs/tour-smoke/toy-01-seed-0"
    assert set(Path().rglob("*")) == before


@pytest.mark.slow
def test_interrupted_tour_resumes(toy_alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from lstm_ae import experiment

    real, trained = experiment.train, []

    def train(config: Any, data: Any, **details: Any) -> Any:
        if len(trained) == 3:
            trained.append(details["out"])
            raise KeyboardInterrupt
        trained.append(details["out"])
        return real(config, data, **details)

    monkeypatch.setattr(experiment, "train", train)
    line = "report --tour --digits digits.npz --out t"
    said = call(line)
    assert said.code == 130
    assert said.last.startswith("Interrupted; what is done is kept. Resume with: ")
    assert not Path("t/report.html").exists()
    first = trained[:3]
    said = call(f"{line} --json")
    assert said.code == 0, said.err
    assert len(trained) == 4 + 1
    assert not set(first) & set(trained[4:])
    found = json.loads(said.out)
    assert [finding["verdict"] for finding in found["findings"]] == [OPEN] * 4
    page = Page(Path("t/report.html").read_text())
    assert (page.wrong, found["bytes"] < 5_000_000) == ([], True)
    assert len(page.all("img")) == 2
    trained.clear()
    assert call(line).code == 0
    assert trained == []
    said = call(f"{line} --dry-run")
    assert "4 there" in said.out
    assert f"The whole level smoke takes {LEVELS['smoke'].duration} on two cores" in said.out


@pytest.mark.slow
def test_smoke_tour_uses_a_subset_of_the_digits(toy_alone: None) -> None:
    from lstm_ae.tour.data import choose_data, read_source_data

    found = read_source_data("digits.npz")
    ground, load = choose_data(LEVELS["smoke"], found, Path())
    assert ground.digits is not None
    data = load(Mnist(data=ground.digits))
    assert [split.samples for split in (data.train, data.validation, data.test)] == [50, 10, 10]
    whole = all_digits.load(Mnist(data="digits.npz"))
    assert np.isin(data.test.series.reshape(10, -1), whole.test.series.reshape(whole.test.samples, -1)).all()
    assert choose_data(LEVELS["smoke"], found, Path())[0] == ground
    scratch, load = choose_data(LEVELS["smoke"], found, Path("nowhere"), Path())
    assert load(Mnist(data=scratch.digits)).source.sha256 == data.source.sha256
