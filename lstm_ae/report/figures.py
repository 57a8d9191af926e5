"""Figures of a run or a search: their descriptions, the commands that create them, and their bytes."""

import base64
import io
import shlex
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

_TABLE_COMMANDS = {
    "detection": "detect {run} DATA",
    "outlook": "forecast {run} DATA --out FILE",
}

_MULTISTEP = ("multistep", "skill_by_step", "coverage_by_step")

# The signature of a PNG file, and the bytes with its width and height.
_SIGNATURE, _SIZE = b"\x89PNG\r\n\x1a\n", slice(16, 24)


class ReportFigure(NamedTuple):
    """Figure of a run.

    Args:
        name: name of the file without its extension.
        description: description of the figure.
        command: the command that creates it; "" if there is none.
        png: bytes of the PNG file.
        width: width in pixels.
        height: height in pixels.
    """

    name: str
    description: str
    command: str
    png: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The figure as a data URI."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"


def read_figures(
    folder: Path, run: Path, task: str | None, training_command: str
) -> tuple[list[ReportFigure], list[str]]:
    """Read the figures in a folder.

    Args:
        folder: the folder.
        run: directory of the run, for the commands.
        task: the run's study; None if it is unknown.
        training_command: the command that trained the run.

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
        command = _command(name, run, task, training_command)
        pictures.append(ReportFigure(name, description, command, png, width, height))
    return pictures, damaged


def _command(name: str, run: Path, task: str | None, training_command: str) -> str:
    directory = shlex.quote(str(run))
    if task == "series" and name in _TABLE_COMMANDS:
        return f"lstmae series {_TABLE_COMMANDS[name].format(run=directory)}"
    if task == "series":
        return training_command if name in _DESCRIPTIONS else ""
    if name in _MULTISTEP:
        return f"lstmae snp predict --multistep --run {directory}"
    if name.removesuffix("-new") in _MULTISTEP:
        return f"lstmae snp predict --multistep --run {directory} --data FILE"
    if name == "pictures":
        return f"lstmae mnist predict IMAGES --run {directory}"
    if name not in _DESCRIPTIONS:
        return ""
    return f"lstmae {task} plot --run {directory}" if task in ("toy", "mnist", "snp") else training_command


def fit_figures(pictures: Sequence[ReportFigure], max_bytes: int) -> list[ReportFigure | None]:
    """Fit figures into a size limit.

    Args:
        pictures: the figures.
        max_bytes: largest number of bytes that all figures may take in a page.

    Returns:
        The figures, with fewer colors if necessary; None for a figure that does not fit.
    """
    if sum(map(_encoded_size, pictures)) > max_bytes:
        pictures = [_reduce_colors(picture) for picture in pictures]
    fitted: list[ReportFigure | None] = []
    for picture in pictures:
        fits = _encoded_size(picture) <= max_bytes
        fitted.append(picture if fits else None)
        max_bytes -= _encoded_size(picture) if fits else 0
    return fitted


def _encoded_size(picture: ReportFigure) -> int:
    return -(-len(picture.png) // 3) * 4


def _reduce_colors(picture: ReportFigure) -> ReportFigure:
    """Return a figure with at most 64 colors if that makes it smaller."""
    from PIL import Image

    buffer = io.BytesIO()
    try:
        with Image.open(io.BytesIO(picture.png)) as image:
            image.convert("RGB").quantize(64).save(buffer, "PNG", optimize=True)
    except Exception:  # A browser may show a figure that Pillow cannot read.
        return picture
    return picture._replace(png=buffer.getvalue()) if len(buffer.getvalue()) < len(picture.png) else picture
