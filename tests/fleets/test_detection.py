"""Detection with a fleet: scores, series without a model, and refused options."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
from fleet_makers import copy_pump_fleet, write_pumps
from processes import CEILING
from searches import answer, call, done, refused, rows_of

from lstm_ae.apply.run_table import TableRequest
from lstm_ae.config import Series
from lstm_ae.data.panel import Panel
from lstm_ae.data.preparation import PreparedTable
from lstm_ae.errors import ConfigError
from lstm_ae.fleets import detection
from lstm_ae.fleets.detection import DetectionJob, FleetDetector, SeriesDetection
from lstm_ae.fleets.directory import Fleet
from lstm_ae.parallel import Engine, JobObserver
from lstm_ae.run import Run

DETECT = "series detect fleet table.csv --id-col machine"


@pytest.fixture(autouse=True)
def _fleet() -> None:
    copy_pump_fleet(Path("fleet"), ("a", "b/c"), without=("d",))
    write_pumps(Path("table.csv"), ("a", "b/c", "d", "e"))


def test_each_series_has_the_scores_of_its_run() -> None:
    said = done(f"{DETECT} --scores scores.csv --events events.csv --json")
    found, scores = json.loads(said.out), rows_of("scores.csv")
    assert list(found["thresholds"]) == list(dict.fromkeys(row["series"] for row in scores)) == ["a", "b/c"]
    assert found["thresholds"]["a"] != found["thresholds"]["b/c"]
    header, *lines = Path("table.csv").read_text().splitlines()
    false_alarms, rule = 0.0, Run(Path("fleet/runs/a")).metrics()["threshold"]["rule"]
    assert rule.startswith("budget:1/month")
    for series, run in {"a": "a", "b/c": "b%2Fc"}.items():
        Path("one.csv").write_text("\n".join([header, *(line for line in lines if f",{series}," in line)]))
        # A series has half of the budget of the fleet, which has two models.
        alone = call(
            f"series detect fleet/runs/{run} one.csv --threshold {rule.replace('1', '0.5')} --scores one-scores.csv "
            "--events one-events.csv --json"
        )
        assert alone.code == 0, alone.err
        expected = json.loads(alone.out)
        assert [row | {"series": series} for row in rows_of("one-scores.csv")] == [
            row for row in scores if row["series"] == series
        ]
        assert [{"series": series} | row for row in expected["anomalies"]] == [
            row for row in found["anomalies"] if row["series"] == series
        ]
        assert found["thresholds"][series] == expected["threshold"]
        false_alarms += expected["expected_false_alarms"]["mean"]
    assert {row["series"] for row in rows_of("events.csv")} == {"a"}
    assert found["expected_false_alarms"]["mean"] == pytest.approx(false_alarms)
    assert found["rules"] == [rule]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["--jobs 2", "--engine ray --jobs 2"])
def test_results_do_not_depend_on_the_engine(engine: str) -> None:
    if "ray" in engine:
        pytest.importorskip("ray")
    files = "--scores {0}-scores.csv --events {0}-events.csv"
    one, two = (
        call(f"{DETECT} --json {files.format(name)} {options}") for name, options in (("one", ""), ("two", engine))
    )
    assert two.code == 0, two.err
    assert "scoring 2 series, 2 at once" in two.err
    assert [line for line in two.err.splitlines() if line.startswith("note:")] == [
        line for line in one.err.splitlines() if line.startswith("note:")
    ]
    thresholds = [json.loads(said.out)["thresholds"] for said in (one, two)]
    assert thresholds[1] == pytest.approx(thresholds[0], rel=1e-5)
    for kind in ("scores", "events"):
        tables = [pd.read_csv(f"{name}-{kind}.csv") for name in ("one", "two")]
        pd.testing.assert_frame_equal(*tables, rtol=1e-5)


@pytest.mark.slow
def test_series_whose_process_dies_twice_has_no_scores() -> None:
    """The outcomes arrive in another order than that of the table."""
    fleet, lost = Fleet(Path("fleet")), list[str]()
    request, reading = TableRequest("table.csv", reading={"id_col": ("machine",)}), {"id_col": ("machine",)}

    class Observer(JobObserver):
        def lost(self, titles: Sequence[str], how: str) -> None:
            lost.extend(titles)

    work = DeadlyDetector(reading=reading)
    found = detection.detect_in_fleet(fleet, request, work, Engine(jobs=2), Observer()).results
    assert [each.series for each in found] == ["a", "b/c", "d", "e"]
    assert found[0].failure.startswith("its process died twice; ")
    assert found[1].rows == 257
    assert "a" in lost


class DeadlyDetector(FleetDetector):
    """Work that kills the process of machine a."""

    def load(self) -> Callable[[DetectionJob], SeriesDetection]:
        score = super().load()

        def run(job: DetectionJob) -> SeriesDetection:
            if job.title == "a":
                os.kill(os.getpid(), signal.SIGKILL)
            return score(job)

        return run


def test_series_without_a_model_are_counted() -> None:
    said = done(f"{DETECT} --engine local --jobs 1")
    assert "scoring 2 series, 1 at once" in said.err
    assert "not scored: e: it is not in the fleet" in said.err
    assert "not scored: d: it has no model; see fleet.csv" in said.err
    assert re.search(r"\d+ events? in 514 rows of 2 series", said.out)
    assert {row["series"] for row in rows_of("fleet/events.csv")} == {"a"}


def test_series_that_cannot_be_prepared_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--scale window`, a missing value is a `ConfigError`."""
    prepare, seen = detection.prepare_run_table, []

    def fail_first(config: Series, table: Panel) -> PreparedTable:
        seen.append(table.ids)
        if len(seen) == 1:
            raise ConfigError("--scale window needs values without gaps")
        return prepare(config, table)

    monkeypatch.setattr(detection, "prepare_run_table", fail_first)
    found = answer(DETECT)
    assert list(found["thresholds"]) == ["b/c"]
    assert found["failed"]["a"] == "--scale window needs values without gaps"


def test_rows_without_a_score_are_counted() -> None:
    # The first window of each of the two series ends at its row 144.
    found = answer(DETECT)
    assert (found["rows"], found["unscored_rows"]) == (514, 286)
    assert Path(found["events"]) == Path("fleet/events.csv")


def test_table_of_unknown_series_is_refused() -> None:
    write_pumps(Path("table.csv"), ("x", "y"))
    assert "No series of table.csv has scores" in call(DETECT).last
    request, reading = TableRequest("table.csv", reading={"id_col": ("machine",)}), {"id_col": ("machine",)}
    found = detection.detect_in_fleet(Fleet(Path("fleet")), request, FleetDetector(reading=reading)).to_json()
    assert (found["scored_series"], found["failed"]) == (0, dict.fromkeys("xy", detection.UNKNOWN))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--figure f.png", "--figure does not apply to a fleet"),
        ("--label-col flow", "--label-col does not apply to a fleet"),
        ("--adapt 100", "--adapt does not apply to a fleet"),
        ("--out results", "--out does not apply to a fleet"),
        ("--engine fugue", "--engine must be one of local, ray"),
        ("--address host:6379", "--address is for --engine ray"),
        ("--threshold budget:1/eon", "--threshold must be"),
    ],
)
def test_options_of_a_single_model_are_refused(options: str, words: str) -> None:
    assert words in refused(f"{DETECT} {options}", 2)


def test_unfinished_and_damaged_fleets_are_refused() -> None:
    Path("fleet/fleet.csv").unlink()
    assert "The fleet 'fleet' is unfinished" in refused(DETECT, 3)
    Path("fleet/fleet.csv").touch()
    Path("fleet/runs/a/normal.npz").write_bytes(b"no archive")
    assert "normal.npz" in refused(DETECT, 3)


def test_detection_needs_no_tensorflow() -> None:
    code = "import sys; from lstm_ae_cli import main; assert main(sys.argv[1:]) == 0; assert 'keras' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code, *DETECT.split()], capture_output=True, text=True, timeout=CEILING
    )
    assert done.returncode == 0, done.stderr
