"""Tests of a report in headless Chromium with Selenium and the driver of Debian."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import contrast, isolated, pytestmark, resize, scheme  # noqa: F401
from report_makers import SAVED, found_anomalies, made, searched

from lstm_ae.config import Toy
from lstm_ae.report.page import gather_sources, render_report, write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report that contains all kinds of runs and a search."""
    place = tmp_path_factory.mktemp("report")
    with contextlib.chdir(place):
        made("one"), made("two", Toy(units=4)), found_anomalies("pump"), searched("search")
        long = shutil.copytree(SAVED / "toy", 8 * "a_name_that_cannot_break_")
        saved = [str(long), *(str(SAVED / name) for name in ("toy", "snp", "mnist-rows"))]
        places = ["one", "two", "pump", "search", *saved]
        page = render_report(gather_sources(places))
    return write_report(place / "report.html", page)


@pytest.fixture
def browser(driver: Any, report: Path) -> Iterator[Any]:
    """Open the report; afterwards, check for console messages and for requests to other files."""
    with isolated(driver, report.as_uri(), "data:image/png;base64,"):
        driver.get(report.as_uri())
        yield driver


@pytest.mark.parametrize("width", [360, 1280])
def test_report_figures_are_drawn(browser: Any, width: int) -> None:
    resize(browser, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    boxes = browser.execute_script(
        """return [...document.querySelectorAll("img")].map((one) => {
            const box = one.getBoundingClientRect(), room = one.parentElement;
            return [box.width, box.height, room.scrollWidth > room.clientWidth && room.tabIndex !== 0];
        });"""
    )
    assert len(boxes) > 10
    for wide, high, cut in boxes:
        assert wide > 250
        assert high > 40
        assert not cut
    loaded = browser.execute_script("return [...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    assert loaded


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_report_texts_have_contrast(browser: Any, ground: str) -> None:
    scheme(browser, ground)
    pairs = browser.execute_script(
        """const ground = getComputedStyle(document.body).backgroundColor, style = (one) => getComputedStyle(one);
        return [[style(document.body).color, ground], [style(document.querySelector(".quiet")).color, ground]];"""
    )
    assert pairs[0][0] == ("rgb(232, 234, 237)" if ground == "dark" else "rgb(22, 24, 27)")
    assert min(contrast(*pair) for pair in pairs) >= 4.5
