"""Tests of the page at / in headless Chromium with Selenium and the driver of Debian."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from browsers import contrast, isolated, messages, pytestmark, resize, scheme  # noqa: F401
from servers import Live, live

SAVED = Path(__file__).parents[2] / "saved_models"
WIDTHS = (360, 1280)
BOLD = "<b id=injected>bold</b>"


class Half(tf.Module):
    """Reconstruct the first half of a sequence; classify a black image as 0 and others as 7."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        spec = tf.TensorSpec((None, *shape), tf.float32, name="sequence")
        self.call = tf.function(self._call, input_signature=[spec])

    def _call(self, sequence: Any) -> Any:
        steps = sequence.shape[1]
        first = tf.cast(tf.range(steps) < steps // 2, tf.float32)[None, :, None]
        digit = tf.where(tf.reduce_max(sequence, axis=(1, 2)) > 0, 7, 0)
        return {"label": tf.one_hot(digit, 10), "reconstruction": sequence * first}


class Companies(tf.Module):
    """Repeat the last value plus the number of the company."""

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, 1), tf.float32, name="past"),
            tf.TensorSpec((None,), tf.int32, name="company"),
            tf.TensorSpec((None,), tf.int32, name="horizon"),
        ]
    )
    def forecast(self, past: Any, company: Any, horizon: Any) -> Any:
        last = past[:, -1:, :] + tf.cast(company, tf.float32)[:, None, None]
        return {"future": tf.repeat(last, tf.reduce_max(horizon), axis=1)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Serve the trained models and a model of digits for each reading order."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("mnist-rows", "snp", "toy"):
        shutil.copytree(SAVED / name / "1", folder / name / "1")
    for read, shape in {"rows": (28, 28), "columns": (28, 28), "pixels": (784, 1), "permuted": (784, 1)}.items():
        model = Half(*shape)
        tf.saved_model.save(model, str(folder / read / "1"), signatures={"serving_default": model.call})
        manifest(folder / read / "1", {"read": read, "data": {"text": BOLD, "licence": "CC0"}})
    days = [[10.0 + day, 9.0, 8.0, 7.0] for day in range(5)]
    shown = [{"name": BOLD, "signature": "forecast", "inputs": {"past": [days], "horizon": [3]}}]
    manifest(folder / "snp" / "1", {"examples": shown})
    companies = Companies()
    tf.saved_model.save(companies, str(folder / "companies" / "1"), signatures={"forecast": companies.forecast})
    manifest(folder / "companies" / "1", {"symbols": ["", "AAPL", "IBM"]})
    with live(folder) as running:
        yield running


def manifest(version: Path, content: dict[str, Any]) -> None:
    (version / "assets.extra").mkdir(exist_ok=True)
    (version / "assets.extra" / "manifest.json").write_text(json.dumps(content), encoding="utf-8")


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

    def choose(self, label: str, place: int) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.field(label)).select_by_index(place)

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

    def drag(self, value: int) -> None:
        slider = self.one("input[type=range]")
        self.run("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", slider, value)

    def draw(self, *moves: tuple[int, int]) -> None:
        """Drag the pointer from a first point by further steps, in 280ths of the canvas from its center."""
        from selenium.webdriver.common.action_chains import ActionChains

        canvas = self.one("canvas.draw")
        scale = canvas.size["width"] / 280
        steps = [(round(x * scale), round(y * scale)) for x, y in moves]
        # Small steps, like those of a hand, send requests faster than they are answered.
        chain = ActionChains(self.driver, duration=30).move_to_element_with_offset(canvas, *steps[0]).click_and_hold()
        for x, y in steps[1:]:
            chain = chain.move_by_offset(x, y)
        chain.release().perform()

    def pixels(self, label: str) -> list[int]:
        """Return the brightness of a canvas at 28 by 28 points."""
        return list(
            self.run(
                """const canvas = document.querySelector(`canvas[aria-label^="${arguments[0]}"]`);
                const { data } = canvas.getContext("2d").getImageData(0, 0, 140, 140);
                const places = Array.from({ length: 28 }, (_, place) => 5 * place + 2);
                return places.flatMap((down) => places.map((right) => data[4 * (140 * down + right)]));""",
                label,
            )
        )


@pytest.fixture
def browser(driver: Any, server: Live) -> Iterator[Browser]:
    """Open the page at desktop width; afterwards, check for console errors and for requests to other hosts."""
    resize(driver, 1280)
    scheme(driver, "light")
    with isolated(driver, server.url("/"), levels=("SEVERE",)):
        yield Browser(driver, server)


def test_models_are_listed_and_chosen(browser: Browser) -> None:
    browser.open("toy")
    listed = ["columns", "companies", "mnist-rows", "permuted", "pixels", "rows", "snp", "toy"]
    assert [link.text for link in browser.all("nav a")] == listed
    assert browser.text("nav a[aria-current]") == "toy"
    assert "input sequence: float, any × any × 1" in browser.text("section[aria-label=Signatures]")
    browser.all("nav a")[6].click()
    browser.until(lambda: browser.text("h2") == "snp")
    assert [part.text for part in browser.all("section[aria-label=Signatures] h4")] == [
        "forecast",
        "predict",
        "serving_default",
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_drawn_digit_is_classified_and_reconstructed(browser: Browser, width: int) -> None:
    resize(browser.driver, width)
    browser.open("mnist-rows")
    browser.draw((-60, -80), (120, 0), (-50, 80), (-30, 90))
    browser.until(lambda: "Predicted digit: 7" in browser.text(".verdict"))
    assert len(browser.all("section[aria-label='Draw a digit'] .chart rect")) == 10
    assert "7: " in browser.one("section[aria-label='Draw a digit'] .chart svg").get_attribute("aria-label")
    browser.until(lambda: sum(value > 128 for value in browser.pixels("Reconstruction")) > 20)
    browser.one("button").click()
    browser.until(lambda: "Draw a digit from 0 to 9" in browser.text(".verdict"))
    assert not browser.all("section[aria-label='Draw a digit'] .chart")
    assert not any(browser.pixels("Reconstruction"))


def test_example_digits_are_drawn_with_the_keyboard(browser: Browser) -> None:
    browser.open("mnist-rows")
    for digit in range(10):
        browser.run("arguments[0].focus()", browser.one(f"button[aria-label='Draw a {digit}']"))
        browser.driver.switch_to.active_element.send_keys(" ")
        browser.until(lambda digit=digit: f"Predicted digit: {digit}" in browser.text(".verdict"))


def test_drawn_digit_is_scaled_and_centered_as_in_mnist(browser: Browser) -> None:
    """A digit of any size at any place becomes 20 pixels high, with its center of mass in the middle."""
    browser.open("rows")
    browser.draw((60, 60), (0, 40), (12, 0))
    browser.until(lambda: "Predicted digit: 7" in browser.text(".verdict"))
    seen = browser.pixels("Input of the model")
    rows = [row for row in range(28) if max(seen[28 * row : 28 * row + 28]) > 64]
    assert 19 <= len(rows) <= 21
    mass = sum(seen)
    down = sum(value * (place // 28 + 0.5) for place, value in enumerate(seen)) / mass
    right = sum(value * (place % 28 + 0.5) for place, value in enumerate(seen)) / mass
    assert abs(down - 14) <= 0.6
    assert abs(right - 14) <= 0.6


@pytest.mark.parametrize("read", ["rows", "columns", "pixels"])
def test_digits_are_sent_and_shown_in_each_reading_order(browser: Browser, read: str) -> None:
    """The model reconstructs the first half of its input: the upper or the left half of the image."""
    browser.open(read)
    browser.one("button[aria-label='Draw a 8']").click()
    browser.until(lambda: any(browser.pixels("Reconstruction")))
    seen, back = browser.pixels("Input of the model"), browser.pixels("Reconstruction")
    kept = [place % 28 < 14 if read == "columns" else place < 14 * 28 for place in range(28 * 28)]
    assert back == [value if keep else 0 for value, keep in zip(seen, kept, strict=True)]
    assert any(value and not keep for value, keep in zip(seen, kept, strict=True))


def test_model_with_permuted_pixels_has_no_canvas(browser: Browser) -> None:
    browser.open("permuted")
    assert "in a permuted order" in browser.text("section[aria-label='Draw a digit']")
    assert not browser.all("canvas")


@pytest.mark.parametrize("width", WIDTHS)
def test_horizon_slider_updates_the_forecast(browser: Browser, width: int) -> None:
    resize(browser.driver, width)
    browser.open("snp")
    browser.choose("Example", 2)
    for days in (10, 3, 60):
        if days != 10:
            browser.drag(days)
        # A pending answer removes the chart for a moment.
        browser.until(lambda days=days: _forecast(browser) == (days, [days + 1, days + 1], [days, days]))
    assert browser.text("output") == "60"


def _forecast(browser: Browser) -> tuple[int, list[int], list[int]]:
    """Return the number of table rows, of values of the two lines in the chart label, and of their line segments."""
    section, chart = "section[aria-label=Forecast]", "section[aria-label=Forecast] .chart svg[role=img]"
    said = " ".join(each.get_attribute("aria-label") for each in browser.all(chart))
    values = [
        int(found[1]) for line in ("forecast", "persistence") if (found := re.search(rf"{line}: (\d+) values", said))
    ]
    strokes = [path.get_attribute("d").count("L") for path in browser.all(f"{chart} .line")]
    return len(browser.all(f"{section} tbody tr")), values, strokes[1:]


def test_persistence_is_the_last_value_of_the_selected_column(browser: Browser) -> None:
    browser.open("snp")
    browser.choose("Example", 1)
    browser.drag(2)
    rows = "section[aria-label=Forecast] tbody tr"
    browser.until(lambda: len(browser.all(rows)) == 2)
    assert [row.text.split()[2] for row in browser.all(rows)] == ["14", "14"]
    browser.choose("Column in the chart", 1)
    assert [row.text.split()[2] for row in browser.all(rows)] == ["9", "9"]


def test_company_is_selected_by_its_symbol(browser: Browser) -> None:
    browser.open("companies")
    browser.paste("Window", "5\n7")
    browser.until(lambda: browser.text("[role=status]") == "In 10 days: 7. Persistence: 7.")
    assert [option.text for option in browser.field("company").find_elements("tag name", "option")] == [
        "unknown",
        "AAPL",
        "IBM",
    ]
    browser.choose("company", 2)
    browser.until(lambda: browser.text("[role=status]") == "In 10 days: 9. Persistence: 7.")


def test_error_of_an_invalid_window_disappears_after_correction(browser: Browser) -> None:
    browser.open("companies")
    browser.paste("Window", "5\nx")
    browser.until(lambda: browser.text(".error") == "Line 2, cell 1 must be a number. Received: x")
    browser.paste("Window", "5\n6")
    browser.until(lambda: browser.text("[role=status]") == "In 10 days: 6. Persistence: 6.")
    assert not browser.all(".error")


def test_line_chart_accepts_300000_values(browser: Browser) -> None:
    """300,000 values are more than the maximum number of arguments of a JavaScript function."""
    browser.open("rows")
    drawn = browser.run(
        """const { lineChart } = await import("/page/chart.js");
        const place = document.body.appendChild(document.createElement("div"));
        place.append(lineChart("many", [{ name: "many", values: Array(300000).fill(1), start: 1 }]));
        await new Promise((done) => setTimeout(done, 500));
        return place.querySelector("svg").getAttribute("aria-label");"""
    )
    assert drawn == "many. many: 300000 values from 1 to 1, minimum 1, maximum 1"


def test_answer_to_the_newest_request_is_shown(browser: Browser) -> None:
    """Each answer takes half a second less than the previous one, so the oldest arrives last and is not shown."""
    browser.open("snp")
    browser.run(
        """const real = fetch;
        window.waits = [1500, 1000, 500, 0];
        window.came = 0;
        window.fetch = async (address, { signal, ...options }) => {
          const wait = window.waits.shift();
          const answer = await real(address, options);
          await new Promise((done) => setTimeout(done, wait));
          window.came += 1;
          return answer;
        };"""
    )
    browser.choose("Example", 2)
    for left, days in ((3, 60), (2, 50), (1, 7)):
        browser.until(lambda left=left: browser.run("return window.waits.length") == left)
        browser.drag(days)
    browser.until(lambda: browser.run("return window.came") == 4)
    browser.run("return new Promise((done) => setTimeout(done, 100))")
    assert len(browser.all("section[aria-label=Forecast] tbody tr")) == 7


@pytest.mark.parametrize(
    "text",
    [
        "day,value\n2000-01-01,0.1\n2000-01-02,0.4\n2000-01-03,0.3\n",
        "0.1 0.4 0.3",
        "0,1;\n0,4;\n0,3;",
        "[0.1, 0.4, 0.3]",
    ],
    ids=["csv with a header", "one row", "commas in numbers", "json"],
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


def test_page_escapes_text_of_the_manifest(browser: Browser) -> None:
    browser.open("rows")
    browser.one("summary").click()
    assert f"Trained on: {BOLD}" in browser.text("details")
    browser.open("snp")
    assert BOLD in browser.field("Example").text
    assert not browser.all("#injected")


@pytest.mark.parametrize("model", ["mnist-rows", "snp", "toy"])
def test_controls_are_reachable_by_keyboard_with_visible_focus(browser: Browser, model: str) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(model)
    if model == "snp":
        browser.choose("Example", 1)
        browser.until(lambda: browser.all("section[aria-label=Forecast] tbody tr"))
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


@pytest.mark.parametrize("model", ["mnist-rows", "snp", "toy"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_not_wider_than_the_window(browser: Browser, model: str, width: int) -> None:
    resize(browser.driver, width)
    browser.open(model)
    for details in browser.all("details"):
        details.click()
    assert browser.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("model", ["mnist-rows", "snp"])
def test_page_text_has_contrast_in_light_and_dark_schemes(browser: Browser, model: str, colours: str) -> None:
    """WCAG 2 level AA requires a contrast of at least 4.5 to 1 between text and background."""
    scheme(browser.driver, colours)
    browser.open(model)
    if model == "snp":
        browser.choose("Example", 1)
        browser.until(lambda: browser.all("section[aria-label=Forecast] tbody tr"))
    found = browser.run(COLORS)
    assert len(found) > 20
    assert [text for color, ground, text in found if contrast(color, ground) < 4.5] == []
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (colours == "light")


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


def test_page_without_javascript_shows_a_message(browser: Browser) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.driver.get(browser.server.url("/"))
        assert "This page needs JavaScript." in browser.text("noscript")
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
