"""Tests of reports: reading runs and searches, describing and comparing them, and the page."""

import contextlib
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import imported_by
from report_makers import HOSTILE, Page, changed, found_anomalies, made, metric, searched
from searches import call, refused

from lstm_ae.config import Mnist, Series, Snp, Toy
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.report.comparison import compare_runs
from lstm_ae.report.facts import MeasuredValue, RunFacts, gather_run, gather_search
from lstm_ae.report.page import MARK, gather_sources, render_report, require_report_path, write_report


def page_of(*places: str) -> Page:
    return Page(render_report(gather_sources(places)))


# Texts


numbers = st.floats(-1e6, 1e6)


@given(numbers, st.dictionaries(st.text(max_size=5), numbers), st.booleans())
def test_measure_is_better_only_if_it_beats_every_baseline(
    value: float, baselines: dict[str, float], higher: bool
) -> None:
    measure = MeasuredValue("test", "error", value, "", baselines | {"nominal": 0.0}, higher)
    rivals = [other for name, other in baselines.items() if name != "nominal"]
    sign = 1 if higher else -1
    assert measure.better == (min(sign * (value - other) for other in rivals) > 0 if rivals else None)


def test_missing_measures_and_baselines_are_not_compared() -> None:
    assert MeasuredValue("test", "error", None, "", {"mean": 1.0}, False).better is None
    assert MeasuredValue("test", "error", 0.5, "", {"mean": None, "last": 1.0}, False).beats == {"last": True}


# Comparison


def facts(where: str, *details: object, **more: object) -> RunFacts:
    made(where, *details, **more)  # type: ignore[arg-type]
    return gather_run(where)


def test_comparison_marks_the_best_of_each_measure() -> None:
    lower, higher, coverage = metric(0.25), metric(0.5, higher=True, unit="", mean=0.1), metric(0.7, nominal=0.8)
    one = facts("a", Toy(units=2), test={"mse": lower, "accuracy": higher, "coverage": metric(0.8, nominal=0.8)})
    two = facts("b", Toy(units=4), test={"mse": metric(0.125), "accuracy": higher, "coverage": coverage})
    found = compare_runs([one, two])
    assert (found.names, found.note) == (("a", "b"), "")
    assert [(row.name, row.values) for row in found.options] == [("units", ("2", "4"))]
    assert {row.name: (row.values, row.best) for row in found.measures} == {
        "test: mse": ((0.25, 0.125), (1,)),
        "test: accuracy": ((0.5, 0.5), ()),  # equal
        "test: coverage": ((0.8, 0.7), ()),  # values near the level are better
        "epochs trained": ((3, 3), ()),
        "training seconds": ((61.2, 61.2), ()),
        "parameters": ((3281, 3281), ()),
    }


def test_scaled_errors_of_different_scales_have_no_best_run() -> None:
    test = {"mse": metric(0.2), "mae": metric(0.4, unit="USD")}
    one = facts("a", Snp(scale="log"), test=test)
    two = facts("b", Snp(scale="company"), test={"mse": metric(0.1), "mae": metric(0.5, unit="USD")})
    best = {row.name: row.best for row in compare_runs([one, two]).measures}
    assert (best["test: mse"], best["test: mae"]) == ((), (0,))


@pytest.mark.parametrize(
    ("config", "data", "note", "differing"),
    [
        (Mnist(), {}, "of different studies", ("study", ("toy", "mnist"))),
        (Toy(), {"sha256": "other"}, "trained on different data", None),
        (Toy(sequences=100), {}, "different tasks (sequences)", ("sequences", ("60000", "100"))),
        (Toy(), {"leaky": "it shuffles"}, "only some of the runs are leaky", ("leaky", ("-", "it shuffles"))),
    ],
)
def test_comparison_notes_why_runs_are_not_comparable(
    config: Toy | Mnist, data: dict[str, str], note: str, differing: tuple[str, tuple[str, str]] | None
) -> None:
    made("a"), made("b", config, test={"reconstruction_mse": metric(0.1)})
    about = json.loads(Path("b/config.json").read_text())["data"]
    changed(Path("b/config.json"), data=about | data)
    found = compare_runs([gather_run("a"), gather_run("b")])
    assert note in found.note
    assert not any(row.best for row in found.measures)
    assert differing is None or differing in [(row.name, row.values) for row in found.options]


# Figures and tables


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("config.json", b"[1, 2]", Code.FILE_UNREADABLE),
        ("metrics.json", b"", Code.FILE_UNREADABLE),
        (
            "metrics.json",
            b'{"test": {"mse": {"value": "low", "baselines": {}, "unit": ""}}, "training": {}}',
            Code.RUN_DAMAGED,
        ),
        ("figures/loss.png", b"no picture", Code.RUN_DAMAGED),
        ("events.csv", b"", Code.EMPTY_COLUMN),
        ("events.csv", b"\xff\x00", Code.FILE_UNREADABLE),
    ],
)
def test_damaged_files_of_a_run_are_refused(name: str, content: bytes, code: Code) -> None:
    found_anomalies("a")
    Path("a", name).write_bytes(content)
    with pytest.raises(DataError) as error:
        gather_run("a")
    assert error.value.code == code
    assert name.split("/")[-1] in str(error.value)


# The page


MSE = {"reconstruction_mse": metric(0.25, mean=0.5, last=0.125)}
MEASURES = {"mse": metric(0.25, mean=0.5), "mae": metric(2.0, mean=1.0, last=3.0), "coverage": metric(0.8, nominal=0.9)}


@pytest.mark.parametrize(
    ("write", "facts"),
    [
        (
            lambda: made("a", Toy(units=4), test=MSE),
            ("1 min 01 s", "3,281 parameters", "mean 0.5; last 0.125", "not better", "Companies IBM"),
        ),
        (lambda: made("a", Series(data="t.csv", id_col=("machine",), scale="series", window=4)), ("Series IBM",)),
        (
            lambda: made("a", test=MEASURES, verdict={"test": {"text": "skill +5.00%"}}),
            ("1 of 2 measures", "mae, 2 against 1 of mean", "skill +5.00%"),
        ),
        (lambda: made("a", notes=["No error on test"]), ("Some content is missing", "No error on test")),
        (lambda: found_anomalies("a"), ("fixed:2", "events.csv, 1 row", "scores.csv, 6 rows", "9.12346")),
        (
            lambda: searched("a"),
            ("trial 0, with a validation loss of 0.1 : units 2, clip 1.", "a/trials/0000", "lstmae toy tune"),
        ),
    ],
    ids=["measures", "series", "verdict", "notes", "anomalies", "search"],
)
def test_page_contains_the_facts_of_a_result(write: Callable[[], object], facts: tuple[str, ...]) -> None:
    write()
    page = page_of("a")
    assert [fact for fact in facts if fact not in page.text] == []
    assert ("Some content is missing" in page.text) == ("Some content is missing" in facts)


def test_skill_is_a_percentage_in_results_and_comparison() -> None:
    for name, skill in (("a", 0.00939), ("b", -0.25)):
        made(name, test={"skill": metric(skill, True, "", regression=0.5)})
    text = page_of("a", "b").text
    assert "test skill +0.94% - higher regression +50.00%" in text
    assert "test: skill +0.94% best -25.00%" in text
    assert "0.00939" not in text


def test_page_marks_leaky_results() -> None:
    run = made("a")
    path = run.directory / "config.json"
    changed(path, data=json.loads(path.read_text())["data"] | {"leaky": "the split shuffles"})
    assert "Leaky: the split shuffles." in page_of("a").text


def test_page_of_a_search_without_trials_has_the_resume_command() -> None:
    found = searched("s")
    found.journal.path.write_bytes(b"damaged\n")
    with pytest.raises(DataError) as error:
        gather_search(Path("s"))
    assert error.value.code == Code.SEARCH_DAMAGED
    found.journal.path.unlink()
    assert "No trial is complete. Resume the search with: lstmae toy tune --resume --out s" in page_of("s").text


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    with contextlib.chdir(tmp_path_factory.mktemp("hostile")):
        made("a", Toy(units=4), words=HOSTILE, test={HOSTILE: metric(0.25, unit=HOSTILE, **{HOSTILE: 0.5})})
        found_anomalies("b", name=HOSTILE)
        searched("s", words=HOSTILE)
        Path("a/figures/reconstruction.png").rename("a/figures/<script>'.png")
        return page_of("a", "b", "s")


def test_page_escapes_text_from_files(hostile: Page) -> None:
    page = hostile
    assert not page.all("script")
    assert not page.all("b")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count(HOSTILE) > 8


def test_page_is_valid_and_loads_no_external_resources(hostile: Page) -> None:
    page = hostile
    assert page.wrong == []
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    for key in ("aria-labelledby", "href"):
        for _, attributes in page.elements:
            for name in (attributes.get(key) or "").split():
                assert name.removeprefix("#") in names, (key, name)
    for tag, attributes in page.elements:
        assert not {"srcset", "action", "integrity"} & set(attributes)
        assert (attributes.get("src") or "data:").startswith("data:"), tag
    assert not re.findall(r"https?://[\w.]+", page.html)
    policy = next(each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "@import" not in page.html
    assert "url(" not in page.html


def test_page_has_accessible_headings_and_landmarks(hostile: Page) -> None:
    page = hostile
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for tag in ("main", "header", "footer", "nav"):
        assert len(page.all(tag)) == 1
    assert page.all("html") == [{"lang": "en"}]
    regions = [each for each in page.all("div") if each.get("role") == "region"]
    assert regions
    assert all(each.get("aria-label") and each.get("tabindex") == "0" for each in regions)
    assert all("scope" in each for each in page.all("th"))
    assert all(each["alt"] for each in page.all("img"))


# The command


def test_report_command_writes_and_overwrites_the_report_of_a_run() -> None:
    made("runs/a")
    for _ in range(2):
        found = call("report latest")
        assert (found.code, found.out) == (0, "report: runs/a/report.html\n")
    assert MARK in Path("runs/a/report.html").read_text()
    document = json.loads(call("report runs/a --json --quiet").out)
    subject = {"directory": "runs/a", "kind": "run", "task": "toy"}
    assert document == {"report": "runs/a/report.html", "subjects": [subject]}


def test_unfinished_run_is_refused_with_the_resume_command() -> None:
    made("a")
    Path("a/metrics.json").unlink()
    assert "lstmae toy train --resume --out a" in refused("report a", 3)


@pytest.mark.slow
def test_report_of_several_runs_is_written_to_the_working_directory() -> None:
    made("a"), made("b", Toy(units=2)), searched("s")
    assert call("report a b s").out == "report: report.html\n"
    page = Page(Path("report.html").read_text())
    assert page.text.startswith("Report: 3 results")
    assert [each["href"] for each in page.all("a")] == ["#content", "#comparison", "#s1", "#s2", "#s3", "#s3-winner"]
    assert call("report a b --out deep/down/x.html").code == 0
    assert Page(Path("deep/down/x.html").read_text()).text.startswith("Report: 2 results")
    assert call("report a a").out == "report: a/report.html\n"


def test_report_does_not_overwrite_files_of_other_programs() -> None:
    made("a")
    for line, path in (("report a", "a/report.html"), ("report a --out notes.html", "notes.html")):
        Path(path).write_text("<html>mine</html>")
        assert f"'{path}' was not written by lstmae" in refused(line, 2)
    for path in ("report.txt", "a"):
        assert "must be a file that ends in .html" in refused(f"report a --out {path}", 2)
    Path("link.html").symlink_to("nowhere")
    for check in (require_report_path, lambda path: write_report(path, "")):
        with pytest.raises(ConfigError, match="not written by lstmae"):
            check(Path("link.html"))


def test_report_without_results_is_refused() -> None:
    Path("empty").mkdir()
    for where in ("empty", "nowhere", "latest"):
        assert where.replace("latest", "no finished run") in refused(f"report {where}", 3)


@pytest.mark.slow
def test_report_command_does_not_import_tensorflow() -> None:
    made("a"), searched("s")
    modules, _ = imported_by(["report a s --quiet"])
    assert not modules & {"tensorflow", "keras", "keras_tuner", "pandas", "scipy", "sklearn"}
