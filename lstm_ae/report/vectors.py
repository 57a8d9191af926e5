"""matplotlib's figures as SVG that stands inside a page: its texts are text, its colours follow the page's."""

import io
import itertools
import re
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from lstm_ae.figures.base import BLACK, BLUE, GREY, PALE, SKY, VERMILLION

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# The page's style sheet has these for light and for dark.
_COLOURS = {
    BLACK: "--ink",
    GREY: "--quiet",
    PALE: "--line",
    BLUE: "--blue",
    SKY: "--sky",
    VERMILLION: "--red",
    "#009E73": "--green",
    "#CC79A7": "--pink",
    "#E69F00": "--orange",
}
_NAMES = {colour.lower(): f"var({name})" for colour, name in _COLOURS.items()}
_NUMBERS = itertools.count(1)
_COLOUR = re.compile("|".join(_NAMES))


def svg(drawn: Figure, *, title: str, text: str, themed: bool = True) -> str:
    """A figure as an `<svg>` element.

    Args:
        title: its name, for who cannot see it.
        text: what it shows, likewise.
        themed: whether its lines take the page's colours, so that it can stand on light and on dark ground; else it
            keeps its own, and needs white ground.
    """
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # Texts stay texts; names that matplotlib gives to shapes follow from what is drawn, not from chance.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        drawn.savefig(buffer, format="svg", metadata=nothing, facecolor="none", transparent=themed)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    root = ElementTree.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    # Names must be the page's only ones of their kind, and every figure of matplotlib's has the same.
    own = f"c{next(_NUMBERS)}"
    for element in root.iter():
        _rename(element, own, themed)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{own}-title {own}-text", "class": "themed" if themed else "own"}
    for place, (tag, words) in enumerate((("title", title), ("desc", text))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{own}-{'title' if tag == 'title' else 'text'}"})
        element.text = words
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def _rename(element: ElementTree.Element, own: str, themed: bool) -> None:
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{own}-{value}")
        elif key == f"{{{_LINK}}}href" and value.startswith("#"):
            element.set(key, f"#{own}-{value[1:]}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{own}-"))
        elif themed and key == "style":
            element.set(key, _COLOUR.sub(lambda match: _NAMES[match[0]], value))
