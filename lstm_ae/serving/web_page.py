"""The web page at `/`: its files, kept in memory, and the headers that restrict it to this server.

The page consists of plain HTML, CSS, and JavaScript in `page/` and uses the REST interface of this server only.
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
    # Browsers must revalidate the page, so that it matches the version of the server.
    ("cache-control", "no-cache"),
)


class PageFile(NamedTuple):
    """The bytes and the media type of a file."""

    content: bytes
    kind: str


@cache
def load_page_files() -> dict[str, PageFile]:
    """Return the page's files by request path; the page itself is at `/`."""
    pages = {}
    for file in (files("lstm_ae.serving") / "page").iterdir():
        path = "/" if file.name == "index.html" else PAGE_PREFIX + file.name
        if kind := _MEDIA_TYPES.get(file.name.rpartition(".")[2]):
            pages[path] = PageFile(file.read_bytes(), kind)
    return pages
