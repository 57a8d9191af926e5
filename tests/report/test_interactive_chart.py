"""Tests of the interactive chart of events: its coordinates, its texts, and its part of the page."""

import base64
import dataclasses
import hashlib
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from report_makers import HOSTILE, Page, found_anomalies, made, searched_series

from lstm_ae.detection.sketch import TableSketch, sketch_series
from lstm_ae.report import interactive_chart
from lstm_ae.report.facts import gather_run
from lstm_ae.report.interactive_chart import format_chart_time, interactive_charts, round_step
from lstm_ae.report.page import gather_sources, render_report
from lstm_ae.run import Run

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def page_of(*runs: str) -> Page:
    return Page(render_report(gather_sources(runs), command="lstmae report", written="today").html)


def with_events(where: str, **details: object) -> Run:
    run = found_anomalies(where)
    run.write_artifact(searched_series(**details))  # type: ignore[arg-type]
    return run


def test_events_of_several_series_include_the_series_name() -> None:
    run, found = with_events("r", several=2), searched_series(several=2)
    events = [{**event, "series": "pump 3"} for event in found.events]
    run.write_artifact(dataclasses.replace(found, events=events))
    text = page_of("r").text
    assert all(f"pump 3 {time}" in text for time in ("temp event 1", "e", "k"))


def test_chart_coordinates_match_computed_values() -> None:
    (chart,) = interactive_charts(searched_series(), 100)
    # Two panels, each 92 high below a margin of 26; the drawing is 800 wide, and its lines extend from 64 to 788.
    assert [(panel.name, panel.top, panel.bottom) for panel in chart.panels] == [
        ("temp", 26, 118),
        ("Score (logarithmic)", 144, 236),
    ]
    assert chart.height == 266
    # Scores of 1, 10, and 100 are at the bottom, middle, and top of a logarithmic axis, 4 units from its edges.
    assert chart.threshold == pytest.approx(190)
    path = chart.panels[1].path
    assert path.startswith("M64 232.0L136.4 232.0")
    assert "L353.6 148.0L426 148.0" in path
    # The event extends from row 3.5 to row 5.5 of 10.
    assert chart.bands == [(317.4, 144.8)]
    assert chart.ticks == [
        ("01-01 00:00", 64.0),
        ("01-01 00:02", 208.8),
        ("01-01 00:04", 353.6),
        ("01-01 00:06", 498.4),
        ("01-01 00:08", 643.2),
        ("01-01 00:10", 788.0),
    ]
    assert [text for text, _ in chart.panels[1].marks] == ["1", "100"]
    data = json.loads(chart.data)
    assert (data["unit"], data["span"], data["step"], data["events"]) == (60_000, 10, 1, [[4, 5]])
    assert data["lines"][1] == {"x": [0, *[1] * 10], "y": [2320] * 4 + [1480] * 2 + [2320] * 5}


def test_chart_title_and_text_describe_the_series() -> None:
    (chart,) = interactive_charts(searched_series(), 100)
    assert chart.title == "The table and its events"
    assert chart.text == (
        "11 rows from 2024-01-01 00:00 to 2024-01-01 00:10 UTC: temp, and the score; 1 event above the threshold of 10."
    )
    _, other = interactive_charts(searched_series(dated=False, several=2), 100)
    assert other.title == "The series temp1 and its events"
    assert other.text.startswith("11 rows from row 0 to row 10: temp, and the score; 1 event")
    assert [text for text, _ in other.ticks] == ["0", "2", "4", "6", "8", "10"]
    (long,) = interactive_charts(searched_series(1000), 100)
    assert "Each line shows at most 100 points" in long.text


def test_missing_values_break_the_line_of_a_chart() -> None:
    found = searched_series()
    (one,) = found.series
    values = one.lines[0].values.copy()
    values[3] = np.nan
    lines = (one.lines[0]._replace(values=values), one.lines[1])
    changed = dataclasses.replace(found, series=(one._replace(lines=lines),))
    (chart,) = interactive_charts(changed, 100)
    assert chart.panels[0].path.count("M") == 2
    assert json.loads(chart.data)["lines"][0]["y"][3] is None


@pytest.mark.parametrize(("constant", "scores"), [(np.nan, 1.0), (3.0, 0.0), (3.0, np.nan)])
def test_chart_of_constant_or_missing_values_contains_no_nan(constant: float, scores: float) -> None:
    found = sketch_series(
        np.arange(5), np.zeros(5, int), np.full((5, 1), constant), np.full(5, scores), np.empty((0, 2), int),
        series="", names=("a",), around=1,
    )  # fmt: skip
    (chart,) = interactive_charts(TableSketch(False, 1, 2.0, "fixed:2", (found,), ()), 100)
    assert "no event above the threshold of 2" in chart.text
    assert "nan" not in chart.data + chart.panels[0].path + chart.panels[1].path


@pytest.mark.parametrize(
    ("least", "dated", "step"),
    [
        (0.4, True, 1),
        (31_000, True, MINUTE),
        (3 * HOUR, True, 3 * HOUR),
        (13 * HOUR, True, DAY),
        (400 * DAY, True, 2 * 365 * DAY),
        (3, False, 5),
        (700, False, 1000),
        (0.2, False, 1),
    ],
)
def test_tick_step_is_rounded_to_a_readable_step(least: float, dated: bool, step: float) -> None:
    assert round_step(least, dated) == step


def test_tick_steps_grow_by_at_most_a_factor_of_two_and_a_half() -> None:
    """The range of a chart thus always contains some ticks."""
    assert all(after <= 2.5 * before for before, after in itertools.pairwise(interactive_chart.STEPS))


def test_chart_times_are_formatted_by_step() -> None:
    place = 1_704_164_645_678  # 2024-01-02 03:04:05.678
    assert [format_chart_time(place, step, True) for step in (DAY, MINUTE, 1000, 5)] == [
        "2024-01-02",
        "01-02 03:04",
        "03:04:05",
        "03:04:05.678",
    ]
    assert format_chart_time(12_345, 5, False) == "12,345"


def test_page_has_one_script_that_its_policy_allows() -> None:
    with_events("a")
    page = page_of("a")
    assert page.wrong == []
    assert page.all("script") == [{}]
    (script,) = re.findall(r"<script>(.*?)</script>", page.html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert f"script-src 'sha256-{digest}';" in (policy or "")
    for sentence in (
        "1 event in the table of the last detection, with the threshold 10 ( fixed:10 ):",
        "temp event 0",
        "Select the start of an event to show it in the chart.",
        "Zoom with the mouse wheel, the buttons, or + and −. Move by dragging",
    ):
        assert sentence in page.text, sentence
    (link,) = [each for each in page.all("a") if "data-event" in each]
    assert link == {"href": "#s1-zoom1", "data-event": "0"}
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert "s1-zoom1" in names
    assert len(set(names)) == len(names)


def test_page_without_a_detection_has_no_script() -> None:
    found_anomalies("a")
    made("b")
    page = page_of("a", "b")
    assert not page.all("script")
    assert "script-src" not in page.html
    assert "Add a chart of the table and its events to this report with: lstmae series detect a DATA" in page.text


def test_page_escapes_names_of_a_detection() -> None:
    with_events("a", name=HOSTILE)
    page = page_of("a")
    assert page.wrong == []
    assert page.all("script") == [{}]
    assert not page.all("b")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert HOSTILE in page.text


def test_report_names_a_damaged_detection() -> None:
    run = with_events("a")
    (run.directory / "detection.npz").write_bytes(b"x")
    told_of = gather_run(Path("a")).missing
    assert [each.split(":")[0] for each in told_of] == ["The events are not drawn"]


@pytest.mark.slow
def test_report_of_many_long_series_is_limited_in_size() -> None:
    places = [f"run{k}" for k in range(4)]
    for place in places:
        with_events(place, rows=100_000, several=4)
    html = render_report(gather_sources(places), command="lstmae report", written="today").html
    assert len(html.encode()) < interactive_chart.MAX_POINTS * 12 + 1_000_000
    assert html.count('class="line') == 4 * 4 * 2
