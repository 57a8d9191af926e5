"""A report's charts of events in a real browser: wheel, drag, buttons, keys and links, and without script."""

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
    """A report of two runs: 1,001 rows at a minute with an event in rows 4 and 5, and two series of numbered rows."""
    place = tmp_path_factory.mktemp("zoomed")
    with contextlib.chdir(place):
        found_anomalies("a").write_artifact(searched_series(1001))
        found_anomalies("b").write_artifact(searched_series(101, dated=False, several=2))
        page = render_report(gather_sources(["a", "b"]), command="lstmae report", written="today")
    return write_report(place / "report.html", page.html)


@pytest.fixture
def page(driver: Any, zoomed: Path) -> Iterator[Any]:
    """The report, opened at 1000 pixels. After every test: nothing in the console, and no request but for the file."""
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


def test_buttons(page: Any) -> None:
    assert shown(page) == WHOLE
    whole = page.find_element("css selector", "[data-do=whole]")
    assert not whole.is_enabled()
    page.find_element("css selector", "[data-do=in]").click()
    # Half of the 1,000 minutes, around their middle: from minute 250 to minute 750.
    assert shown(page) == "Shown: 2024-01-01 04:10:00 to 2024-01-01 12:30:00; 0 of 1 events."
    page.find_element("css selector", "[data-do=back]").click()
    assert shown(page) == "Shown: 2024-01-01 02:05:00 to 2024-01-01 10:25:00; 0 of 1 events."
    page.find_element("css selector", "[data-do=on]").click()
    page.find_element("css selector", "[data-do=out]").click()
    assert shown(page) == WHOLE
    page.find_element("css selector", "[data-do=in]").click()
    whole.click()
    assert shown(page) == WHOLE


def test_keys(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    press(page, "+")
    press(page, Keys.ARROW_LEFT)
    press(page, Keys.ARROW_LEFT)
    assert shown(page) == "Shown: 2024-01-01 00:00:00 to 2024-01-01 08:20:00; 1 of 1 events."
    press(page, Keys.ARROW_LEFT)  # there is nothing before
    assert "2024-01-01 00:00:00 to 2024-01-01 08:20:00" in shown(page)
    press(page, Keys.ARROW_RIGHT)
    press(page, "-")
    assert shown(page) == WHOLE
    for _ in range(20):
        press(page, "+")
    # Eight rows at least.
    assert shown(page) == "Shown: 2024-01-01 08:16:00 to 2024-01-01 08:24:00; 0 of 1 events."
    press(page, "0")
    assert shown(page) == WHOLE


def test_wheel_and_drag(page: Any) -> None:
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
    assert shown(page)[7:26] < first[7:26]  # what lay before has come into sight
    for _ in range(3):
        ActionChains(page).scroll_from_origin(ScrollOrigin.from_element(stage), 0, 100).perform()
    assert shown(page) == WHOLE
    assert page.execute_script("return scrollY") > before  # nothing was left to zoom, so the page moved


def test_a_link_leads_to_its_event(page: Any) -> None:
    links = page.find_elements("css selector", "a[data-event]")
    assert [each.text for each in links] == ["temp event 0", "temp event 0", "temp event 1"]
    links[0].click()
    assert shown(page) == "Shown: 2024-01-01 00:00:00 to 2024-01-01 00:41:00; 1 of 1 events."
    assert page.execute_script("return document.activeElement.className") == "scroll stage"
    links[2].click()
    assert [shown(page, k) for k in (1, 2)] == [WHOLE, "Shown: row 0 to row 41; 1 of 1 events."]


def test_what_is_drawn_follows(page: Any) -> None:
    path = page.find_element("css selector", ".score")
    whole = path.get_attribute("d")
    page.find_element("css selector", "a[data-event]").click()
    near = path.get_attribute("d")
    assert near != whole
    assert near.startswith("M64.0 232L")
    band = page.find_element("css selector", ".bands rect")
    # From row 3.5 to row 5.5 of 41.
    room = float(page.find_element("css selector", ".zoom svg").get_dom_attribute("viewBox").split()[2]) - 76
    assert float(band.get_attribute("x")) == pytest.approx(64 + 3.5 / 41 * room, abs=0.1)
    assert float(band.get_attribute("width")) == pytest.approx(2 / 41 * room, abs=0.1)
    ticks = [each.text for each in page.find_elements("css selector", ".ticks text")][:3]
    assert ticks == ["01-01 00:00", "01-01 00:10", "01-01 00:20"]


def test_the_script_draws_what_python_has_drawn(page: Any, zoomed: Path) -> None:
    """At a width of 800 both come to the same times."""
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
def test_it_fits_and_is_legible(page: Any, width: int) -> None:
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
    for _ in range(9):  # whatever is shown, a time stands below it
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
def test_it_stands_out_from_its_ground(page: Any, ground: str) -> None:
    scheme(page, ground)
    colours = page.execute_script(
        """const ground = getComputedStyle(document.body).backgroundColor;
        return [...document.querySelectorAll(".zoom text")].map((one) => [getComputedStyle(one).fill, ground, 4.5])
            .concat([...document.querySelectorAll(".zoom .line, .zoom .threshold")]
                .map((one) => [getComputedStyle(one).stroke, ground, 3]));"""
    )
    assert len(colours) > 20
    assert all(contrast(one, other) >= least for one, other, least in colours)


def test_names_for_who_cannot_see(page: Any) -> None:
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


def test_it_prints_without_its_controls(page: Any) -> None:
    printed = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert len(base64.b64decode(printed["data"])) > 20_000
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not page.find_element("css selector", ".controls").is_displayed()
        assert page.find_element("css selector", ".zoom svg").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
