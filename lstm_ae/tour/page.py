"""The tour as one HTML file, made by the templates of `lstm_ae.report`."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from lstm_ae.about import versions
from lstm_ae.config import Config, task_of
from lstm_ae.figures.base import png
from lstm_ae.files import write
from lstm_ae.judging import CONFIRMED, OPEN, REFUTED
from lstm_ae.report.charts import Chart
from lstm_ae.report.page import MARK, ROOM, Page, templates
from lstm_ae.report.pictures import Picture, fitting, read_pictures
from lstm_ae.tasks import task
from lstm_ae.tour.charts import reached
from lstm_ae.tour.commands import options_of
from lstm_ae.tour.journey import Leg, Load
from lstm_ae.tour.levels import Level
from lstm_ae.tour.parts import Part
from lstm_ae.tour.results import Outcome, Told

# Charts of so many quantities; the rest stands in the table.
CHARTS = 2


class View(NamedTuple):
    """A part as the page shows it.

    Args:
        charts: what the settings reached.
        pictures: figures of the shown run and of the data; `left` are those that there was no room for.
        shown: the training whose figures they are; None for none.
    """

    outcome: Outcome
    charts: Sequence[Chart]
    pictures: Sequence[Picture]
    left: Sequence[Picture]
    shown: Leg | None


def draw_data(parts: Sequence[Part], load: Load, folder: Path) -> None:
    """Draw the data of the parts that show it, as `lstmae STUDY data` does; it may be another's than before."""
    for part in parts:
        if part.draws is not None:
            (drawn,) = task(task_of(part.draws)).describe(part.draws, load(part.draws)).values()
            write(_data_figure(part, folder), png(drawn))


def render(
    told: Told,
    legs: Sequence[Leg],
    folder: Path,
    level: Level,
    *,
    command: str,
    written: str,
    notes: Sequence[str] = (),
    room: int = ROOM,
) -> Page:
    """The page of a tour.

    Args:
        legs: the trainings behind it.
        command: what makes this page again.
        written: when that was, for people.
        notes: what there is to know of the data, and of trainings that failed.
        room: bytes that figures may take together.
    """
    shown = [_shown(outcome.part, legs) for outcome in told.outcomes]
    pictures = [list(_pictures(each.part, leg, folder)) for each, leg in zip(told.outcomes, shown, strict=True)]
    fitted = iter(fitting([picture for row in pictures for picture in row], room))
    views, left_out = [], []
    for outcome, leg, row in zip(told.outcomes, shown, pictures, strict=True):
        pairs = [(picture, next(fitted)) for picture in row]
        left = [picture for picture, kept in pairs if kept is None]
        left_out += [picture.name for picture in left]
        views.append(View(outcome, list(_charts(outcome)), [kept for _, kept in pairs if kept], left, leg))
    verdicts = [answer.judged.verdict for outcome in told.outcomes for answer in outcome.answers]
    html = (
        templates()
        .get_template("tour.html")
        .render(
            mark=Markup(MARK),
            title="The source report again",
            views=views,
            level=level,
            counts=[(verdict, verdicts.count(verdict)) for verdict in (CONFIRMED, REFUTED, OPEN)],
            claims=len(verdicts),
            trainings=len(legs),
            read=told.read,
            missing=told.missing,
            sources=told.sources,
            made=told.made,
            notes=list(dict.fromkeys(notes)),
            command=command,
            written=written,
            version=versions()["lstm-ae"],
        )
    )
    return Page(html, tuple(left_out))


def _charts(outcome: Outcome) -> Iterator[Chart]:
    for place, quantity in enumerate(outcome.part.quantities[:CHARTS]):
        chart = reached(outcome.rows, place, quantity)
        if chart:
            yield chart


def _shown(part: Part, legs: Sequence[Leg]) -> Leg | None:
    """The training with the first seed of the setting that a part shows."""
    configs = [setting.configs[0] for setting in part.settings if setting.name == part.shown]
    found = [leg for config in configs for leg in legs if leg.drawn and _but_seed(leg.config) == _but_seed(config)]
    return next(iter(found), None)


def _but_seed(config: Config) -> dict[str, object]:
    return {name: value for name, value in config.to_dict().items() if name != "seed"}


def _pictures(part: Part, leg: Leg | None, folder: Path) -> Iterator[Picture]:
    if part.draws is not None:
        path = _data_figure(part, folder)
        figure = f"--figure {shlex.quote(str(path))}"
        command = f"lstmae {task_of(part.draws)} data {options_of(part.draws)} {figure}"
        for picture in read_pictures(path.parent, folder, None, "")[0]:
            if picture.name == path.stem:
                yield picture._replace(command=command, shows="The data.")
    if leg is not None:
        found = read_pictures(leg.directory / "figures", leg.directory, task_of(leg.config), leg.command)[0]
        named = {picture.name: picture for picture in found}
        yield from (named[name] for name in part.figures if name in named)


def _data_figure(part: Part, folder: Path) -> Path:
    return folder / "figures" / f"{part.key}-data.png"
