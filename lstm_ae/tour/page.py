"""The tour as one HTML file, with the charts of its parts."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lstm_ae.config import Config, task_of
from lstm_ae.files import write
from lstm_ae.formatting import format_number
from lstm_ae.plots.base import BLACK, BLUE, GREY, VERMILLION, figure, label, legend, png, short
from lstm_ae.report.charts import NARROW, ReportChart, svg
from lstm_ae.report.figures import ReportFigure, fit_figures, read_figures
from lstm_ae.report.page import MARK, ROOM, ReportPage, page_templates
from lstm_ae.run import installed_versions
from lstm_ae.significance import CONFIRMED, OPEN, REFUTED
from lstm_ae.studies import load_study
from lstm_ae.tour.claims import TourPart
from lstm_ae.tour.commands import command_options
from lstm_ae.tour.levels import TourLevel
from lstm_ae.tour.measurements import TourQuantity
from lstm_ae.tour.results import PartResult, SettingRow, TourResults
from lstm_ae.tour.runs import Load, TourTraining


def settings_chart(rows: Sequence[SettingRow], place: int, quantity: TourQuantity) -> ReportChart | None:
    """Each setting on a line of its own, its name above; None where fewer than two settings have
    the quantity: nothing is compared then.

    Args:
        place: the quantity's in the rows. The source report's numbers are for the first.
    """
    rows = [row for row in rows if row.reached[place][0].values]
    if len(rows) < 2:
        return None
    drawn = figure(height=1.15 + 0.44 * len(rows), width=NARROW)
    axes, times = drawn.axes[0], 100 if quantity.unit == "%" else 1
    handles: dict[str, Any] = {}
    for line, row in enumerate(reversed(rows)):
        ours, baseline = row.reached[place]
        values = times * np.asarray(ours.values)
        axes.plot([values.min(), values.max()], [line, line], color=BLUE, linewidth=1.5)
        handles["a seed"] = axes.plot(values, np.full(len(values), line), "o", color=BLUE, markersize=5)[0]
        if row.reported is not None and place == 0:
            (handles["source report"],) = axes.plot(
                [times * row.reported], [line], "D", color=VERMILLION, markersize=6, markerfacecolor="none"
            )
        if baseline is not None:
            at = times * float(np.mean(baseline.values))
            (handles[f"baseline: {quantity.rival}"],) = axes.plot(
                [at], [line], "|", color=GREY, markersize=10, markeredgewidth=1.5
            )
        axes.annotate(
            short(row.name, 46),
            (0, line + 0.26),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            color=BLACK,
            va="bottom",
            parse_math=False,
        )
    axes.set_ylim(-0.5, len(rows) - 0.1)
    axes.set_yticks([])
    _across(axes, quantity)
    unit = f" ({quantity.unit})" if quantity.unit else ""
    label(axes, x=f"{quantity.words[0].upper()}{quantity.words[1:]}{unit}")
    legend(drawn, list(handles.values()), list(handles))
    title = f"{quantity.words[0].upper()}{quantity.words[1:]} of each setting"
    text = f"{title}: " + "; ".join(_told(row, place, times, quantity) for row in rows) + "."
    return ReportChart(title, text, svg(drawn, title=title, text=text))


def _across(axes: Any, quantity: TourQuantity) -> None:
    """A logarithmic axis where the values span powers of ten."""
    low, high = axes.get_xlim()
    seen = np.concatenate([np.asarray(line.get_xdata(), float) for line in axes.lines])
    if quantity.log and seen.min() > 0 and seen.max() > 10 * seen.min():
        axes.set_xscale("log", nonpositive="mask")
        narrow = seen.max() < 100 * seen.min()
        far = seen.max() > 1e5 * seen.min()
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if narrow else (1.0,), numticks=5 if far else 9))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(float(f"{value:.6g}"))))


def _told(row: SettingRow, place: int, times: int, quantity: TourQuantity) -> str:
    ours, baseline = row.reached[place]
    text = f"{row.name}: {ours}"
    if row.reported is not None and place == 0:
        text += f", in the source report {format_number(times * row.reported)}{' %' if times == 100 else ''}"
    return text + (f", {quantity.rival} {baseline}" if baseline is not None else "")


# Charts of so many quantities; the rest stands in the table.
CHARTS = 2


class PartView(NamedTuple):
    """A part as the page shows it.

    Args:
        charts: what the settings reached.
        pictures: figures of the shown run and of the data; `left` are those that there was no room for.
        shown: the training whose figures they are; None for none.
    """

    outcome: PartResult
    charts: Sequence[ReportChart]
    pictures: Sequence[ReportFigure]
    left: Sequence[ReportFigure]
    shown: TourTraining | None


def draw_data(parts: Sequence[TourPart], load: Load, folder: Path) -> None:
    """Draw the data of the parts that show it, as `lstmae STUDY data` does; it may be another's than before."""
    for part in parts:
        if part.draws is not None:
            (drawn,) = load_study(task_of(part.draws)).describe(part.draws, load(part.draws)).values()
            write(_data_figure(part, folder), png(drawn))


def render_tour(
    told: TourResults,
    legs: Sequence[TourTraining],
    folder: Path,
    level: TourLevel,
    *,
    command: str,
    written: str,
    notes: Sequence[str] = (),
    room: int = ROOM,
) -> ReportPage:
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
    fitted = iter(fit_figures([picture for row in pictures for picture in row], room))
    views, left_out = [], []
    for outcome, leg, row in zip(told.outcomes, shown, pictures, strict=True):
        pairs = [(picture, next(fitted)) for picture in row]
        left = [picture for picture, kept in pairs if kept is None]
        left_out += [picture.name for picture in left]
        views.append(PartView(outcome, list(_charts(outcome)), [kept for _, kept in pairs if kept], left, leg))
    verdicts = [answer.judged.verdict for outcome in told.outcomes for answer in outcome.answers]
    html = (
        page_templates()
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
            version=installed_versions()["lstm-ae"],
        )
    )
    return ReportPage(html, tuple(left_out))


def _charts(outcome: PartResult) -> Iterator[ReportChart]:
    for place, quantity in enumerate(outcome.part.quantities[:CHARTS]):
        chart = settings_chart(outcome.rows, place, quantity)
        if chart:
            yield chart


def _shown(part: TourPart, legs: Sequence[TourTraining]) -> TourTraining | None:
    """The training with the first seed of the setting that a part shows."""
    configs = [setting.configs[0] for setting in part.settings if setting.name == part.shown]
    found = [leg for config in configs for leg in legs if leg.drawn and _but_seed(leg.config) == _but_seed(config)]
    return next(iter(found), None)


def _but_seed(config: Config) -> dict[str, object]:
    return {name: value for name, value in config.to_dict().items() if name != "seed"}


def _pictures(part: TourPart, leg: TourTraining | None, folder: Path) -> Iterator[ReportFigure]:
    if part.draws is not None:
        path = _data_figure(part, folder)
        figure = f"--figure {shlex.quote(str(path))}"
        command = f"lstmae {task_of(part.draws)} data {command_options(part.draws)} {figure}"
        for picture in read_figures(path.parent, folder, None, "")[0]:
            if picture.name == path.stem:
                yield picture._replace(command=command, shows="The data.")
    if leg is not None:
        found = read_figures(leg.directory / "figures", leg.directory, task_of(leg.config), leg.command)[0]
        named = {picture.name: picture for picture in found}
        yield from (named[name] for name in part.figures if name in named)


def _data_figure(part: TourPart, folder: Path) -> Path:
    return folder / "figures" / f"{part.key}-data.png"
