"""A real browser, and helpers to inspect pages in it."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
DRIVER, CHROMIUM = Path("/usr/bin/chromedriver"), Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DRIVER.exists() or not CHROMIUM.exists(), reason="chromium and chromedriver are missing"),
]
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en"),
)


def messages(driver: Any, *levels: str) -> list[str]:
    """Return the messages in the console since the previous call, of these levels or of all."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in levels or not levels]


@contextlib.contextmanager
def isolated(driver: Any, *addresses: str, levels: tuple[str, ...] = ()) -> Iterator[Any]:
    """Leave the previous page; at the end, check for console messages and for requests to other addresses."""
    driver.get("about:blank")
    driver.get_log("performance")
    driver.get_log("browser")
    yield driver
    assert messages(driver, *levels) == []
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = {one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"}
    assert any(url.startswith(addresses[0]) for url in asked)
    assert all(url.startswith((*addresses, "about:blank")) for url in asked)


def resize(driver: Any, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def scheme(driver: Any, name: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": name}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colors as defined by WCAG 2.1."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
