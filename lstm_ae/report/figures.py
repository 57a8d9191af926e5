"""Figures of a run or a search: their descriptions and their bytes."""

import base64
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_DESCRIPTIONS = {
    "reconstruction": "Test samples and their reconstructions.",
    "loss": "Training and validation loss over the epochs.",
    "curves": "Training and validation losses and accuracy over the epochs.",
    "confusion": "Confusion matrix of the test split.",
    "trust": "Reliability diagram and a window of each class, on the test split.",
    "last_day": "The last day of the last test window of each company: truth, forecast, and persistence.",
    "windows": "The last test window of several companies: truth and forecast.",
    "window": "The last test window of one company: truth, forecast, and persistence.",
    "skill_by_company": "Skill against persistence on the test split, by company.",
    "multistep": "Rollout forecasts over many days.",
    "skill_by_step": "Error and skill by forecast step.",
    "coverage_by_step": "Coverage of the prediction intervals by forecast step.",
    "detection": "The columns of the table with the detected events, and the scores with the threshold.",
    "pictures": "Images of digits and their predicted classes.",
    "forecasts": "Forecasts after test windows, with the actual values and the baseline.",
    "outlook": "Forecasts after the end of a table, with the baseline.",
}

# The signature of a PNG file, and the bytes with its width and height.
_SIGNATURE, _SIZE = b"\x89PNG\r\n\x1a\n", slice(16, 24)


class ReportFigure(NamedTuple):
    """Figure of a run.

    Args:
        name: name of the file without its extension.
        description: description of the figure.
        png: bytes of the PNG file.
        width: width in pixels.
        height: height in pixels.
    """

    name: str
    description: str
    png: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The figure as a data URI."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"


def read_figures(folder: Path) -> tuple[list[ReportFigure], list[str]]:
    """Read the figures in a folder.

    Returns:
        The figures in the order of their names, and the names of damaged files.
    """
    pictures, damaged = [], []
    for path in sorted(folder.glob("*.png")):
        try:
            png = path.read_bytes()
            if not png.startswith(_SIGNATURE) or not png.rstrip(b"\0").endswith(b"IEND\xaeB`\x82"):
                raise ValueError
            width, height = struct.unpack(">II", png[_SIZE])
        except (OSError, ValueError, struct.error):
            damaged.append(path.name)
            continue
        name = path.stem
        description = _DESCRIPTIONS.get(name.removesuffix("-new"), f"The figure {name}.")
        description += " The data is new to the run." if name.endswith("-new") else ""
        pictures.append(ReportFigure(name, description, png, width, height))
    return pictures, damaged


def fit_figures(pictures: Sequence[ReportFigure], max_bytes: int) -> list[ReportFigure | None]:
    """Fit figures into a size limit.

    Args:
        pictures: the figures.
        max_bytes: largest number of bytes that all figures may take in a page.

    Returns:
        The figures; None for a figure that does not fit.
    """
    fitted: list[ReportFigure | None] = []
    for picture in pictures:
        size = -(-len(picture.png) // 3) * 4  # in base64
        fitted.append(picture if size <= max_bytes else None)
        max_bytes -= size if fitted[-1] else 0
    return fitted
