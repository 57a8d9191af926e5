"""Test findings on the options of a search and on the claims of the report, with pairs counted by hand."""

import math
import statistics

import pytest
from report_makers import changed, metric, searched

from lstm_ae.config import Snp, Toy
from lstm_ae.config.space import REPORT as SPACE
from lstm_ae.config.space import Axis
from lstm_ae.formatting import format_number
from lstm_ae.report.facts import gather_search
from lstm_ae.search.findings import OptionFinding, findings
from lstm_ae.search.journal import ended_trials
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.report_claims import REPORT, report_findings, reported_loss
from lstm_ae.search.results import read_baseline, result_columns, result_statements
from lstm_ae.search.trial import COMPLETED, FAILED, PRUNED, RUNNING, Execution, Objective, Trial, rank_trials
from lstm_ae.significance import CONFIRMED, OPEN, REFUTED, SettingResult

LOSS, ACCURACY = Objective("val_loss"), Objective("val_label_accuracy", higher_is_better=True)
RATES, UNITS, CLIPS = (
    Axis("learning_rate", (0.1, 0.01, 0.001)),
    Axis("units", (8, 16, 32)),
    Axis("clip", (1.0, 5.0)),
)


def trial(number, values, *scores, status=COMPLETED, until=None):
    executions = tuple(Execution(seed, score, 8, 8, "", 1.0, (score,)) for seed, score in enumerate(scores))
    return Trial(number, values, status, executions, until=until)


def trials_of(name, scores, **more):
    """Return one trial per value."""
    return [trial(k, {name: value}, score, **more) for k, (value, score) in enumerate(scores.items())]


def grid(losses=REPORT):
    return [
        trial(k, {"learning_rate": rate, "units": units, "clip": clip}, loss)
        for k, ((rate, units, clip), loss) in enumerate(losses.items())
    ]


def told(trials, axes, objective=LOSS):
    return [str(line) for line in findings(trials, axes, objective)]


def test_findings_of_the_source_report_grid():
    lines = findings(grid(), (RATES, UNITS, CLIPS), LOSS)
    assert [str(line) for line in lines] == [
        "learning rate 0.01 better than learning rate 0.001 in 6 of 6 pairs",
        "learning rate 0.1 better than learning rate 0.01 in 4 of 6 pairs",
        "larger learning rate better in 10 of 12 pairs",
        "the winner has learning rate 0.1",
        "units 16 better than units 8 in 5 of 6 pairs",
        "units 16 better than units 32 in 5 of 6 pairs",
        "larger units better as often as smaller ones, in 6 of 12 pairs each",
        "the winner has units 16",
        "clip 1 better than clip 5 in 7 of 9 pairs",
        "the winner has clip 5",
    ]
    assert lines[5] == OptionFinding("units", (16, 32), 5, 6, None, lines[5].text)
    assert lines[6].values == (32, 16, 8)
    assert lines[-2][:5] == ("clip", (1.0, 5.0), 7, 9, None)
    assert lines[-1][:5] == ("clip", (5.0,), 0, 0, None)


def test_findings_prefer_higher_accuracy():
    lines = findings(grid(), (UNITS, RATES, CLIPS), ACCURACY)
    assert str(lines[0]) == "units 8 better than units 16 in 5 of 6 pairs"
    assert str(lines[-1]) == "the winner has clip 5"
    falling = trials_of("units", {8: 0.9, 16: 0.8, 32: 0.7})
    assert findings(falling, (UNITS,), ACCURACY)[2][:5] == ("units", (8, 16, 32), 2, 2, None)
    assert told(falling, (UNITS,), ACCURACY)[2] == "smaller units better in 2 of 2 pairs"


def test_findings_of_ties_and_single_pairs():
    even = [
        trial(0, {"clip": 1.0, "units": 8}, 0.1),
        trial(1, {"clip": 5.0, "units": 8}, 0.2),
        trial(2, {"clip": 1.0, "units": 16}, 0.3),
        trial(3, {"clip": 5.0, "units": 16}, 0.15),
    ]
    assert told(even, (CLIPS,))[0] == "clip 1 better as often as clip 5, in 2 of 4 pairs each"  # pairs ignore units
    assert told(even, (CLIPS, UNITS))[0] == "clip 1 better as often as clip 5, in 1 of 2 pairs each"
    assert told(even[:2], (CLIPS,))[0] == "clip 1 better than clip 5 in 1 of 1 pair"
    same = trials_of("clip", {1.0: 0.1, 5.0: 0.1})
    assert told(same, (CLIPS,)) == ["clip 1 as good as clip 5 in 1 of 1 pair", "the winner has clip 1"]
    assert findings(same, (CLIPS,), LOSS)[0].better == 0
    level = trials_of("units", {8: 0.1, 16: 0.1, 32: 0.1})
    assert told(level, (UNITS,))[2] == "larger units as good as smaller ones in 2 of 2 pairs"


def test_finding_without_majority_counts_better_and_worse_pairs():
    losses = {8: (0.1, 0.1), 16: (0.1, 0.1), 32: (0.1, 0.1), 64: (0.1, 0.2), 128: (0.1, 0.2), 256: (0.2, 0.1)}
    made = [
        trial(2 * k + side, {"units": units, "clip": clip}, pair[side])
        for k, (units, pair) in enumerate(losses.items())
        for side, clip in enumerate((1.0, 5.0))
    ]
    axis = Axis("units", tuple(losses))
    line = findings(made, (CLIPS, axis), LOSS)[0]
    assert str(line) == "clip 1 better than clip 5 in 2 and worse in 1 of 6 pairs"
    assert line[:5] == ("clip", (1.0, 5.0), 2, 6, None)
    assert "smaller units better in 2 and worse in 1 of 10 pairs" in told(made, (axis, CLIPS))


@pytest.mark.parametrize(
    ("first", "second", "clear", "end"),
    [
        # Standard deviations of a sample: sqrt(2) * 0.1 = 0.1414 each, 0.2828 together.
        ((1.0, 1.2), (1.29, 1.49), 1, "in 1 of 1 pair, by more than the spread over seeds"),
        ((1.0, 1.2), (1.28, 1.48), 0, "in 1 of 1 pair, never by more than the spread over seeds"),
        ((1.0, 1.2), (1.5,), None, "in 1 of 1 pair"),
        ((1.0,), (1.5,), None, "in 1 of 1 pair"),
    ],
)
def test_finding_compares_the_difference_to_the_spread_over_seeds(first, second, clear, end):
    made = [trial(0, {"clip": 1.0}, *first), trial(1, {"clip": 5.0}, *second)]
    line = findings(made, (CLIPS,), LOSS)[0]
    assert (line.better, line.pairs, line.clear) == (1, 1, clear)
    assert str(line) == "clip 1 better than clip 5 " + end


def test_clear_pairs_count_only_the_stated_direction():
    scores = {8: ((1.0, 1.01), (2.0, 2.01)), 16: ((1.0, 1.01), (1.0, 1.03)), 32: ((3.0, 3.01), (1.0, 1.01))}
    made = [
        trial(k, {"units": units, "clip": clip}, *pair[side])
        for k, (units, pair) in enumerate(scores.items())
        for side, clip in enumerate((1.0, 5.0))
    ]
    line = findings(made, (CLIPS, UNITS), LOSS)[0]
    assert str(line) == "clip 1 better than clip 5 in 2 of 3 pairs, in 1 of them by more than the spread over seeds"
    assert line.clear == 1
    clear = findings(made[:2] + made[:1], (CLIPS, UNITS), LOSS)[0]
    assert str(clear) == "clip 1 better than clip 5 in 2 of 2 pairs, always by more than the spread over seeds"


def test_findings_of_categorical_options_have_no_trend():
    axis = Axis("optimizer", ("sgd", "adam", "nadam"))
    made = trials_of("optimizer", {"adam": 0.1, "nadam": 0.2, "sgd": 0.3})
    assert told(made, (axis,)) == [
        "optimizer adam better than optimizer sgd in 1 of 1 pair",
        "optimizer adam better than optimizer nadam in 1 of 1 pair",
        "the winner has optimizer adam",
    ]


def test_findings_order_no_clipping_after_the_largest_clip():
    made = trials_of("clip", {0.0: 0.3, 1.0: 0.1, 5.0: 0.2})
    assert told(made, (Axis("clip", (0.0, 1.0, 5.0)),))[1:3] == [
        "clip 5 better than clip 0 in 1 of 1 pair",
        "smaller clip better in 2 of 2 pairs",
    ]
    assert told(trials_of("dropout", {0.0: 0.3, 0.1: 0.1}), (Axis("dropout", (0.0, 0.1)),))[0].startswith("dropout 0.1")


def test_random_search_findings_need_trials_that_differ_in_one_option():
    rate = Axis("learning_rate", low=1e-4, high=0.1, log=True)
    drawn = [trial(k, {"units": units, "learning_rate": 0.01 + k / 1000}, 1.0 - k) for k, units in enumerate((8, 16))]
    assert told(drawn, (UNITS, rate)) == ["the winner has units 16", "the winner has learning rate 0.011"]
    alike = [trial(9, {"units": 8, "learning_rate": 0.011}, 2.0), *drawn]
    assert told(alike, (UNITS, rate))[0] == "units 16 better than units 8 in 1 of 1 pair"
    assert len(told(alike, (UNITS, rate))) == 3


def test_hyperband_findings_compare_trials_of_equal_epochs():
    made = [
        *trials_of("clip", {1.0: 0.5, 5.0: 0.6}, until=2),
        *trials_of("clip", {1.0: 0.1}),
    ]
    assert told(made, (CLIPS,)) == ["clip 1 better than clip 5 in 1 of 1 pair", "the winner has clip 1"]
    assert told([made[1], made[2]], (CLIPS,)) == ["the winner has clip 1"]


def test_findings_ignore_trials_without_a_score():
    made = [
        trial(0, {"clip": 1.0}, math.nan),
        trial(1, {"clip": 1.0}, math.inf),
        trial(2, {"clip": 1.0}, 0.1, status=FAILED),
        trial(3, {"clip": 1.0}, status=RUNNING),
        trial(4, {"clip": 5.0}, 0.2),
    ]
    assert told(made, (CLIPS,)) == ["the winner has clip 5"]
    assert told([*made, trial(5, {"clip": 1.0}, 0.3, status=PRUNED)], (CLIPS,))[0].endswith("in 1 of 1 pair")
    assert told(made[:4], (CLIPS,)) == told([], (CLIPS,)) == told(made, ()) == []


def test_reported_loss_of_a_setting():
    assert len(REPORT) == 18
    assert min(REPORT, key=REPORT.__getitem__) == (0.1, 16, 5.0)
    assert reported_loss("toy", {"learning_rate": 0.01, "units": 32, "clip": 5}) == 0.0009240137333108578
    assert reported_loss("mnist", {"learning_rate": 0.01, "units": 32, "clip": 5}) is None
    assert reported_loss("toy", {"learning_rate": 0.02, "units": 32, "clip": 5}) is None
    assert reported_loss("toy", {"units": 32}) is None
    assert reported_loss("toy", {"learning_rate": 0.01, "units": 32, "clip": 5, "latent": "vector"}) is None


@pytest.mark.parametrize(
    "network",
    [{"latent": "vector"}, {"layers": 2}, {"bidirectional": True}, {"decoder_units": 4}],
    ids=str,
)
def test_report_claims_apply_only_to_networks_of_the_report(network):
    trials = grid()
    for config, claims in ((Toy(), 3), (Toy(**network), 0)):
        plan = SearchPlan(config=config, axes=SPACE.axes, objective=LOSS)
        assert len([line for line in result_statements(plan, trials) if line.startswith('"')]) == claims
        assert ("report" in result_columns(plan, trials)[0]) == bool(claims)
    # If the option is searched, only trials with the network of the report have a reported loss.
    (name, other), usual = *network.items(), getattr(Toy(), *network)
    plan = SearchPlan(config=Toy(), axes=(*SPACE.axes, Axis(name, (usual, other))), objective=LOSS)
    both = [one._replace(values=one.values | {name: value}) for one in trials for value in (usual, other)]
    header, rows = result_columns(plan, both)
    place = header.index("report")
    assert [row[place] is None for row in rows] == [False, True] * len(trials)


def test_windows_validated_on_different_days_are_not_compared():
    axes = (Axis("window", (10, 40)), Axis("units", (8, 16)))
    values = [{"window": window, "units": units} for window in (10, 40) for units in (8, 16)]
    trials = [trial(k, each, 1.0 - k / 10) for k, each in enumerate(values)]
    same, other = (
        result_statements(SearchPlan(config=Snp(last_day_only=last), axes=axes, objective=LOSS), trials)
        for last in (True, False)
    )
    assert same[:2] == ["window 40 better than window 10 in 2 of 2 pairs", "the winner has window 40"]
    assert other[:2] == same[2:4]
    assert other[2].startswith("window is not compared: ")
    assert len(other) == 3
    assert result_statements(SearchPlan(config=Snp(), axes=axes, objective=LOSS), []) == []


def seeded(losses, *factors):
    """Return the trials of the grid with one training per factor of the loss."""
    return [
        trial(k, {"learning_rate": rate, "units": units, "clip": clip}, *(loss * factor for factor in factors))
        for k, ((rate, units, clip), loss) in enumerate(losses.items())
    ]


SEPARATE = {(rate, units, clip): clip / units / rate for rate, units, clip in REPORT}


def test_report_claims_with_one_seed_are_not_decidable():
    claims = report_findings(grid(SEPARATE), LOSS, "toy")
    assert [(claim.decision.verdict, claim.decision.why) for claim in claims] == [(OPEN, "one seed is not enough")] * 3
    assert "in the report better in 7 of 9 pairs, with one seed" in str(claims[1])


def test_report_claims_are_decided_over_several_seeds():
    claims = report_findings(seeded(SEPARATE, 0.99, 1.0, 1.01), LOSS, "toy")
    assert [claim.decision.verdict for claim in claims] == [CONFIRMED] * 3
    # Geometric means over the grid: of 1/(rate units) times clip.
    mean = statistics.geometric_mean(loss for (_, _, clip), loss in SEPARATE.items() if clip == 1)
    assert f"{mean:.3g}" in claims[1].decision.figures
    turned = {setting: 1 / loss for setting, loss in SEPARATE.items()}
    worse = report_findings(seeded(turned, 0.99, 1.0, 1.01), LOSS, "toy")
    assert [claim.decision.verdict for claim in worse] == [REFUTED] * 3
    even = report_findings(seeded(dict.fromkeys(REPORT, 1.0), 0.99, 1.0, 1.01), LOSS, "toy")
    assert [claim.decision.verdict for claim in even] == [OPEN] * 3


def test_report_claims_of_settings_worse_than_the_baseline_stay_open():
    trials = seeded(SEPARATE, 0.99, 1.0, 1.01)
    means = (
        statistics.geometric_mean(loss for (_, _, clip), loss in SEPARATE.items() if clip == each) for each in (1, 5)
    )
    low, high = means
    for level, verdict in ((low * 0.9, OPEN), ((low + high) / 2, CONFIRMED)):
        claim = report_findings(trials, LOSS, "toy", SettingResult("mean sequence", (level,), log=True))[1]
        assert claim.decision.verdict == verdict
        assert ("mean sequence" in claim.decision.why) == (verdict == OPEN)


def test_result_statements_start_with_the_baseline():
    plan = SearchPlan(config=Toy(), axes=SPACE.axes, objective=LOSS)
    level = sorted(REPORT.values())[2]
    said = result_statements(plan, grid(), SettingResult("mean sequence", (level,), log=True))
    assert said[0] == f"baseline mean sequence: val_loss {format_number(level)}; 2 of 18 trials are better"
    assert said[1:] == result_statements(plan, grid())


def test_baseline_is_read_from_the_run_of_the_best_trial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = searched("s")
    trials = rank_trials(ended_trials(folder.journal.read()[0]), LOSS)
    assert read_baseline(folder, trials) is None
    measured = {"reconstruction_mse": metric(0.1, **{"mean sequence": 0.05})}
    changed(folder.run(0).directory / "metrics.json", validation=measured)
    assert read_baseline(folder, trials).values == (0.05,)
    assert (
        "baseline mean sequence: val_loss 0.05; 0 of 2 trials are better" in gather_search(folder.directory).statements
    )


def test_report_claims_require_the_whole_grid():
    whole = grid()
    assert report_findings(whole[:-1], LOSS, "toy") == []
    assert report_findings(whole, LOSS, "snp") == []
    running = whole[-1]._replace(status=RUNNING)
    assert report_findings([*whole[:-1], running], LOSS, "toy") == []
    repeated = seeded(SEPARATE, 0.99, 1.0, 1.01)
    failed = [one._replace(status=FAILED) for one in repeated]
    claims = report_findings([*repeated[:-1], failed[-1]], LOSS, "toy")
    assert [claim.decision.why for claim in claims[:2]] == ["a value is missing"] * 2
    assert [claim.decision.verdict for claim in report_findings(failed, LOSS, "toy")] == [OPEN] * 3
