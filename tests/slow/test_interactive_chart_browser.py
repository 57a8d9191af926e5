"""Tests of interactive charts in a browser: wheel, drag, buttons, keys, links, and disabled scripts."""

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import contrast, resize, scheme
from browsers import pytestmark as browser_is_there
from report_makers import found_anomalies, searched_series

from lstm_ae.report.page import gather_sources, render_report, write_report

pytestmark = browser_is_there
WIDTH = 1000


@pytest.fixture(scope="module")
def zoomed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report of two runs: 1,001 rows, one per minute, with an event, and two series without times."""
    place = tmp_path_factory.mktemp("zoomed")
    with contextlib.chdir(place):
        found_anomalies("a").write_artifact(searched_series(1001))
        found_anomalies("b").write_artifact(searched_series(101, dated=False, several=2))
        page = render_report(gather_sources(["a", "b"]), command="lstmae report", written="today")
    return write_report(place / "report.html", page.html)


@pytest.fixture
def page(driver: Any, zoomed: Path) -> Iterator[Any]:
    """Open the report at 1000 pixels; afterwards, check for console messages and for requests to other files."""
    driver.get("about:blank")
    driver.get_log("performance")
    driver.get_log("browser")
    resize(driver, WIDTH)
    scheme(driver, "light")
    driver.get(zoomed.as_uri())
    yield driver
    assert driver.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = {one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"}
    assert all(url.startswith((zoomed.as_uri(), "data:image/png;base64,")) for url in asked)


def shown(page: Any, number: int = 0) -> str:
    found: str = page.find_elements("css selector", ".shown")[number].text
    return found


def press(page: Any, key: str) -> None:
    page.find_element("css selector", ".stage").send_keys(key)


WHOLE = "Full range; 1 of 1 events."


def test_buttons_zoom_move_and_reset_the_chart(page: Any) -> None:
    assert shown(page) == WHOLE
    whole = page.find_element("css selector", "[data-do=whole]")
    assert not whole.is_enabled()
    page.find_element("css selector", "[data-do=in]").click()
    # The middle half of the 1,000 minutes: from minute 250 to minute 750.
    assert shown(page) == "Shown: 2024-01-01 04:10:00 to 2024-01-01 12:30:00; 0 of 1 events."
    page.find_element("css selector", "[data-do=back]").click()
    assert shown(page) == "Shown: 2024-01-01 02:05:00 to 2024-01-01 10:25:00; 0 of 1 events."
    page.find_element("css selector", "[data-do=on]").click()
    page.find_element("css selector", "[data-do=out]").click()
    assert shown(page) == WHOLE
    page.find_element("css selector", "[data-do=in]").click()
    whole.click()
    assert shown(page) == WHOLE


def test_keys_zoom_move_and_reset_the_chart(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    press(page, "+")
    press(page, Keys.ARROW_LEFT)
    press(page, Keys.ARROW_LEFT)
    assert shown(page) == "Shown: 2024-01-01 00:00:00 to 2024-01-01 08:20:00; 1 of 1 events."
    press(page, Keys.ARROW_LEFT)  # the chart is already at the start
    assert "2024-01-01 00:00:00 to 2024-01-01 08:20:00" in shown(page)
    press(page, Keys.ARROW_RIGHT)
    press(page, "-")
    assert shown(page) == WHOLE
    for _ in range(20):
        press(page, "+")
    # The smallest range is eight rows.
    assert shown(page) == "Shown: 2024-01-01 08:16:00 to 2024-01-01 08:24:00; 0 of 1 events."
    press(page, "0")
    assert shown(page) == WHOLE


def test_wheel_zooms_and_drag_moves_the_chart(page: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    stage = page.find_element("css selector", ".stage")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    before = page.execute_script("return scrollY")
    ActionChains(page).scroll_from_origin(ScrollOrigin.from_element(stage), 0, -100).perform()
    first = shown(page)
    assert first.startswith("Shown: ")
    assert page.execute_script("return scrollY") == before
    ActionChains(page).drag_and_drop_by_offset(stage, 100, 0).perform()
    assert shown(page) != first
    assert shown(page)[7:26] < first[7:26]  # earlier rows are visible
    for _ in range(3):
        ActionChains(page).scroll_from_origin(ScrollOrigin.from_element(stage), 0, 100).perform()
    assert shown(page) == WHOLE
    assert page.execute_script("return scrollY") > before  # the chart was at the full range, so the page scrolled


def test_event_link_shows_the_event_in_its_chart(page: Any) -> None:
    links = page.find_elements("css selector", "a[data-event]")
    assert [each.text for each in links] == ["temp event 0", "temp event 0", "temp event 1"]
    links[0].click()
    assert shown(page) == "Shown: 2024-01-01 00:00:00 to 2024-01-01 00:41:00; 1 of 1 events."
    assert page.execute_script("return document.activeElement.className") == "scroll stage"
    links[2].click()
    assert [shown(page, k) for k in (1, 2)] == [WHOLE, "Shown: row 0 to row 41; 1 of 1 events."]


def test_zoom_redraws_lines_bands_and_ticks(page: Any) -> None:
    path = page.find_element("css selector", ".score")
    whole = path.get_attribute("d")
    page.find_element("css selector", "a[data-event]").click()
    near = path.get_attribute("d")
    assert near != whole
    assert near.startswith("M64.0 232L")
    band = page.find_element("css selector", ".bands rect")
    # The band extends from row 3.5 to row 5.5 of 41.
    room = float(page.find_element("css selector", ".zoom svg").get_dom_attribute("viewBox").split()[2]) - 76
    assert float(band.get_attribute("x")) == pytest.approx(64 + 3.5 / 41 * room, abs=0.1)
    assert float(band.get_attribute("width")) == pytest.approx(2 / 41 * room, abs=0.1)
    ticks = [each.text for each in page.find_elements("css selector", ".ticks text")][:3]
    assert ticks == ["01-01 00:00", "01-01 00:10", "01-01 00:20"]


def test_script_and_python_draw_equal_ticks(page: Any, zoomed: Path) -> None:
    """Python draws at a width of 800, so the script must use the same width."""
    svg = page.find_element("css selector", ".zoom svg")
    page.execute_script("arguments[0].parentElement.style.width = '800px'", svg)
    page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert svg.get_dom_attribute("viewBox").split()[2] == "800"
    script = """return [...arguments[0].querySelectorAll(".ticks text")]
        .map((one) => [one.textContent, +one.getAttribute("x")]);"""
    ours = page.execute_script(script, svg)
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.get(zoomed.as_uri())
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    still = page.execute_script(script, page.find_element("css selector", ".zoom svg"))
    assert ours == still
    assert not page.find_element("css selector", ".controls").is_displayed()
    assert page.find_element("css selector", ".line").get_attribute("d").startswith("M64 ")
    assert page.find_element("css selector", ".zoom svg").size["height"] > 200


@pytest.mark.parametrize("width", [360, 1280])
def test_chart_fits_the_window_and_is_legible(page: Any, width: int) -> None:
    resize(page, width)
    page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    sizes = page.execute_script(
        """return [...document.querySelectorAll(".zoom text")].map((one) => {
            const { a, b } = one.getScreenCTM();
            return Math.hypot(a, b) * parseFloat(getComputedStyle(one).fontSize);
        });"""
    )
    assert min(sizes) >= 9
    for button in page.find_elements("css selector", ".controls button")[:5]:
        assert min(button.size.values()) >= 44
    for _ in range(9):  # every range has at least one tick
        assert page.find_elements("css selector", ".ticks text")
        press(page, "+")
    cut = page.execute_script(
        """const room = document.querySelector(".zoom svg").getBoundingClientRect();
        return [...document.querySelectorAll(".zoom svg")[0].querySelectorAll("text")].filter((one) => {
            const box = one.getBoundingClientRect();
            return box.left < room.left - 1 || box.right > room.right + 1;
        }).map((one) => one.textContent);"""
    )
    assert cut == []


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_chart_has_contrast_in_light_and_dark_schemes(page: Any, ground: str) -> None:
    scheme(page, ground)
    colours = page.execute_script(
        """const ground = getComputedStyle(document.body).backgroundColor;
        return [...document.querySelectorAll(".zoom text")].map((one) => [getComputedStyle(one).fill, ground, 4.5])
            .concat([...document.querySelectorAll(".zoom .line, .zoom .threshold")]
                .map((one) => [getComputedStyle(one).stroke, ground, 3]));"""
    )
    assert len(colours) > 20
    assert all(contrast(one, other) >= least for one, other, least in colours)


def test_chart_has_accessible_names_and_roles(page: Any) -> None:
    tree = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value")) for node in tree if "role" in node}
    title = "The table and its events"
    assert {
        ("region", title),
        ("button", "Zoom in"),
        ("button", "Zoom out"),
        ("button", "Earlier"),
        ("button", "Later"),
        ("toolbar", f"{title}: range"),
    } <= named
    assert any(role == "image" and (name or "").startswith(f"{title} 1,001 rows from ") for role, name in named)
    assert any(role == "status" for role, _ in named)


def test_chart_is_printed_without_its_controls(page: Any) -> None:
    printed = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert len(base64.b64decode(printed["data"])) > 20_000
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not page.find_element("css selector", ".controls").is_displayed()
        assert page.find_element("css selector", ".zoom svg").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
