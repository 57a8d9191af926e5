"""The figures of a run or a search: what each shows, the command that makes it, and its bytes."""

import base64
import io
import shlex
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# By name, what a figure shows.
_SHOWS = {
    "reconstruction": "Samples of the test part and what the model gives back of them.",
    "loss": "The loss over the epochs, on training and validation.",
    "curves": "Losses and accuracy over the epochs, on training and validation.",
    "confusion": "Which class was taken for which, on the test part.",
    "trust": "How often an answer of a probability is right, and a window of each class, on the test part.",
    "last_day": "The last day of the last test window of each company: truth, forecast and persistence.",
    "windows": "The last test window of several companies: truth and forecast.",
    "window": "The last test window of one company: truth, forecast and persistence.",
    "skill_by_company": "The skill against persistence on the test part, company by company.",
    "multistep": "Forecasts of many days, each day from the forecasts before it.",
    "skill_by_step": "The error and the skill by the number of days, or steps, ahead.",
    "coverage_by_step": "The share of true prices inside the intervals, by the number of days ahead.",
    "detection": "The table's columns with the events found in them, and the scores with their threshold.",
    "pictures": "Pictures of digits, and what the model takes them for.",
    "forecasts": "Forecasts after test windows, with what came and what the baseline says.",
    "outlook": "Forecasts of what follows a table, with the baseline's.",
    "table": "A table's columns and what the model gives back of them.",
}

_OF_A_TABLE = {
    "detection": "detect {run} DATA",
    "outlook": "forecast {run} DATA --out FILE",
    "table": "plot {run} DATA",
}

_MULTISTEP = ("multistep", "skill_by_step", "coverage_by_step")

# Of a PNG: its signature, and where its size stands.
_SIGNATURE, _SIZE = b"\x89PNG\r\n\x1a\n", slice(16, 24)


class ReportFigure(NamedTuple):
    """A figure.

    Args:
        name: its file's, without the ending.
        shows: what it shows, in words.
        command: what makes it anew; "" where nothing is known to.
        png: the file's bytes.
        width, height: in pixels.
    """

    name: str
    shows: str
    command: str
    png: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"


def read_figures(folder: Path, run: Path, task: str | None, trained: str) -> tuple[list[ReportFigure], list[str]]:
    """The figures in a folder, by name, and the names of those that are damaged.

    Args:
        run: the directory that the commands name.
        task: the run's study; None where that is not known.
        trained: the command that the run was begun with.
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
        shows = _SHOWS.get(name.removesuffix("-new"), f"The figure {name}.")
        shows += " Of data that the run was not trained on." if name.endswith("-new") else ""
        pictures.append(ReportFigure(name, shows, _command(name, run, task, trained), png, width, height))
    return pictures, damaged


def _command(name: str, run: Path, task: str | None, trained: str) -> str:
    where = shlex.quote(str(run))
    if task == "series" and name in _OF_A_TABLE:
        return f"lstmae series {_OF_A_TABLE[name].format(run=where)}"
    if task == "series":
        return trained if name in _SHOWS else ""
    if name in _MULTISTEP:
        return f"lstmae snp predict --multistep --run {where}"
    if name.removesuffix("-new") in _MULTISTEP:
        return f"lstmae snp predict --multistep --run {where} --data FILE"
    if name == "pictures":
        return f"lstmae mnist predict IMAGES --run {where}"
    if name not in _SHOWS:
        return ""
    return f"lstmae {task} plot --run {where}" if task in ("toy", "mnist", "snp") else trained


def fit_figures(pictures: Sequence[ReportFigure], room: int) -> list[ReportFigure | None]:
    """Each picture as it fits into so many bytes of a page: smaller where it must be, None where it does not fit."""
    if sum(map(_weight, pictures)) > room:
        pictures = [_smaller(picture) for picture in pictures]
    fitted: list[ReportFigure | None] = []
    for picture in pictures:
        fits = _weight(picture) <= room
        fitted.append(picture if fits else None)
        room -= _weight(picture) if fits else 0
    return fitted


def _weight(picture: ReportFigure) -> int:
    return -(-len(picture.png) // 3) * 4


def _smaller(picture: ReportFigure) -> ReportFigure:
    """The same picture in at most 64 colours, which figures do with."""
    from PIL import Image

    found = io.BytesIO()
    try:
        with Image.open(io.BytesIO(picture.png)) as image:
            image.convert("RGB").quantize(64).save(found, "PNG", optimize=True)
    except Exception:  # whatever Pillow finds wrong with it, a browser may still show it
        return picture
    return picture._replace(png=found.getvalue()) if len(found.getvalue()) < len(picture.png) else picture
