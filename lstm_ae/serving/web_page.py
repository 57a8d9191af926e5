"""The page at `/`: its files, held in memory, and the headers that keep it to this server.

The page is plain HTML, CSS and JavaScript in `page/`; it asks this server alone, by the same REST that clients use.
"""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

PAGE_PREFIX = "/page/"

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

SECURITY_HEADERS = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    # Asked for anew each time, so that the page is as old as its server.
    ("cache-control", "no-cache"),
)


class PageFile(NamedTuple):
    """A file's bytes and its media type."""

    content: bytes
    kind: str


@cache
def load_page_files() -> dict[str, PageFile]:
    """The page's files by the path that they are asked for under; the page itself is at `/`."""
    found = {}
    for file in (files("lstm_ae.serving") / "page").iterdir():
        path = "/" if file.name == "index.html" else PAGE_PREFIX + file.name
        if kind := _MEDIA_TYPES.get(file.name.rpartition(".")[2]):
            found[path] = PageFile(file.read_bytes(), kind)
    return found
