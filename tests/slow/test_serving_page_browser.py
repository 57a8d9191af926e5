"""Tests of the page at / in headless Chromium with Selenium and the driver of Debian."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import contrast, isolated, messages, pytestmark, resize, scheme  # noqa: F401
from servers import Live, live

SAVED = Path(__file__).parents[2] / "saved_models"
BOLD = "<b id=injected>bold<b>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Serve trained models, one of them under a name that is markup."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("mnist-rows", "snp", "toy"):
        shutil.copytree(SAVED / name / "1", folder / name / "1")
    shutil.copytree(SAVED / "toy" / "1", folder / BOLD / "1")
    with live(folder) as running:
        yield running


class Browser:
    """A browser with the page of the server."""

    def __init__(self, driver: Any, server: Live) -> None:
        self.driver, self.server = driver, server

    def open(self, model: str) -> None:
        self.driver.get("about:blank")
        self.driver.get(self.server.url(f"/#{model}"))
        self.until(lambda: self.text("h2") == model)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return " ".join(found.text for found in self.all(selector))

    def run(self, script: str, *given: Any) -> Any:
        return self.driver.execute_script(script, *given)

    def until(self, condition: Any) -> Any:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        waiting = WebDriverWait(self.driver, 15, 0.05, [StaleElementReferenceException])
        return waiting.until(lambda _: condition())

    def field(self, label: str) -> Any:
        """Return the control of a label."""
        return self.run(
            "return [...document.querySelectorAll('label')].find((one) => one.textContent === arguments[0]).control",
            label,
        )

    def paste(self, label: str, text: str) -> None:
        """Set the whole text at once, as pasting does."""
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        self.run(script, self.field(label), text)


@pytest.fixture
def browser(driver: Any, server: Live) -> Iterator[Browser]:
    """Open the page at desktop width; afterwards, check for console errors and for requests to other hosts."""
    resize(driver, 1280)
    scheme(driver, "light")
    with isolated(driver, server.url("/"), levels=("SEVERE",)):
        yield Browser(driver, server)


def test_models_are_listed_and_chosen(browser: Browser) -> None:
    browser.open("toy")
    listed = [BOLD, "mnist-rows", "snp", "toy"]
    assert [link.text for link in browser.all("nav a")] == listed
    assert browser.text("nav a[aria-current]") == "toy"
    assert "any number of numbers, one per row" in browser.text("form .hint")
    browser.all("nav a")[2].click()
    browser.until(lambda: browser.text("h2") == "snp")
    assert browser.text("select").split() == ["forecast", "predict", "serving_default"]
    assert not browser.all("#injected")


def test_line_chart_accepts_300000_values(browser: Browser) -> None:
    """300,000 values are more than the maximum number of arguments of a JavaScript function."""
    browser.open("toy")
    drawn = browser.run(
        """const { lineChart } = await import("/page/chart.js");
        const place = document.body.appendChild(document.createElement("div"));
        place.append(lineChart("many", [{ name: "many", values: Array(300000).fill(1), start: 1 }]));
        await new Promise((done) => setTimeout(done, 500));
        return place.querySelector("svg").getAttribute("aria-label");"""
    )
    assert drawn == "many. many: 300000 values from 1 to 1, minimum 1, maximum 1"


@pytest.mark.parametrize(
    "text",
    [
        "day,value\n2000-01-01,0.1\n2000-01-02,0.4\n2000-01-03,0.3\n",
        "0.1 0.4 0.3",
        "[0.1, 0.4, 0.3]",
    ],
    ids=["csv with a header", "one row", "json"],
)
def test_pasted_numbers_are_sent_and_charted(browser: Browser, text: str) -> None:
    browser.open("toy")
    browser.paste("sequence", text)
    browser.one("form button").click()
    browser.until(lambda: browser.all("form .chart .line"))
    said = browser.one("form .chart svg").get_attribute("aria-label")
    assert "3 values from " in said
    browser.one("form summary").click()
    (sequence,) = json.loads(browser.text("form pre"))["reconstruction"]
    assert [len(row) for row in sequence] == [1, 1, 1]


@pytest.mark.parametrize(
    ("model", "text", "error"),
    [
        ("toy", "", "sequence is empty. Paste or type numbers."),
        ("toy", "1\n2\nthree\n4", "Line 3, cell 1 must be a number. Received: three"),
        ("toy", "a,b\n1,2\n3", "Line 3 has 1 cells, but the first line has 2."),
        ("toy", "1,2\n3,4", "sequence requires 1 number per row. Received: 2"),
        ("toy", "[1, 2", "sequence is not valid JSON"),
        ("toy", '{"a": 1}', "sequence must be a list, such as [[1, 2], [3, 4]]."),
        ("snp", "1\n2", "past requires 4 numbers per row. Received: 1"),
        # The following errors come from the server.
        ("toy", "[[[1, 2]]]", "Input 'sequence' must have the shape (any, any, 1). Received: (1, 1, 2)"),
        ("toy", '[[["a"]]]', 'JSON Value: "a" Type: String is not of expected type: float'),
    ],
)
def test_invalid_inputs_show_an_error(browser: Browser, model: str, text: str, error: str) -> None:
    browser.open(model)
    browser.paste("sequence" if model == "toy" else "past", text)
    browser.one("form button").click()
    browser.until(lambda: error in browser.text("form .error"))
    # The console contains the expected status of every refused request.
    assert [message for message in messages(browser.driver, "SEVERE") if "400 (Bad Request)" not in message] == []


@pytest.mark.parametrize(("width", "colors"), [(360, "dark"), (1280, "light")])
@pytest.mark.parametrize("model", ["mnist-rows", "snp", "toy"])
def test_page_fits_is_readable_and_can_be_used_by_keyboard(
    browser: Browser, model: str, width: int, colors: str
) -> None:
    """WCAG 2 level AA requires a contrast of at least 4.5 to 1 between text and background."""
    from selenium.webdriver.common.keys import Keys

    resize(browser.driver, width)
    scheme(browser.driver, colors)
    browser.open(model)
    if model == "snp":
        browser.paste("past", "1,2,3,4\n" * 30)
        browser.one("form button").click()
        browser.until(lambda: browser.all("form .chart .line"))
    for details in browser.all("details"):
        details.click()
    assert browser.run("return document.documentElement.scrollWidth") <= width
    found = browser.run(COLORS)
    assert len(found) > 10
    assert [text for color, ground, text in found if contrast(color, ground) < 4.5] == []
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (colors == "light")
    controls = browser.run(
        "return [...document.querySelectorAll('a, button, select, textarea, input, summary, [tabindex]')]"
        ".filter((one) => one.checkVisibility())"
    )
    browser.run("arguments[0].focus()", controls[0])
    reached = [controls[0]]
    for _ in controls[1:]:
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        focused = browser.driver.switch_to.active_element
        style = browser.run("return getComputedStyle(arguments[0]).outlineStyle", focused)
        assert style != "none", focused.get_attribute("outerHTML")[:200]
        reached.append(focused)
    assert reached == controls


# For each element with text: its color, the nearest background, and the text.
COLORS = """
const ground = (element) => {
  const color = getComputedStyle(element).backgroundColor;
  return color === "rgba(0, 0, 0, 0)" ? ground(element.parentElement) : color;
};
const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
return [...document.body.querySelectorAll("*")].filter((one) => own(one) && one.checkVisibility()).map((one) => {
  const style = getComputedStyle(one);
  return [one.namespaceURI.endsWith("svg") ? style.fill : style.color, ground(one), one.textContent.slice(0, 40)];
});
"""
