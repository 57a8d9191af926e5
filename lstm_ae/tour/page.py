"""Page of a tour as one HTML file, with the charts of its parts."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lstm_ae.config import Config, task_of
from lstm_ae.files import write
from lstm_ae.formatting import format_number
from lstm_ae.plots.base import BLACK, BLUE, GRAY, VERMILLION, figure, label, legend, png, shorten
from lstm_ae.report.charts import NARROW, ReportChart, svg
from lstm_ae.report.figures import ReportFigure, fit_figures, read_figures
from lstm_ae.report.page import MAX_FIGURE_BYTES, ReportPage, render_page
from lstm_ae.significance import CONFIRMED, OPEN, REFUTED
from lstm_ae.studies import load_study
from lstm_ae.tour.claims import TourPart
from lstm_ae.tour.commands import command_options
from lstm_ae.tour.levels import TourLevel
from lstm_ae.tour.measurements import TourQuantity
from lstm_ae.tour.results import PartResult, SettingRow, TourResults
from lstm_ae.tour.runs import Load, TourTraining


def settings_chart(rows: Sequence[SettingRow], index: int, quantity: TourQuantity) -> ReportChart | None:
    """Draw the values of a quantity, one line per setting.

    Args:
        rows: the settings.
        index: index of the quantity in the rows. Index 0 includes the source report's values.
        quantity: the quantity.

    Returns:
        The chart; None if fewer than two settings have the quantity.
    """
    rows = [row for row in rows if row.results[index][0].values]
    if len(rows) < 2:
        return None
    drawing = figure(height=1.15 + 0.44 * len(rows), width=NARROW)
    axes, factor = drawing.axes[0], 100 if quantity.unit == "%" else 1
    handles: dict[str, Artist] = {}
    for line, row in enumerate(reversed(rows)):
        result, baseline = row.results[index]
        values = factor * np.asarray(result.values)
        axes.plot([values.min(), values.max()], [line, line], color=BLUE, linewidth=1.5)
        handles["one seed"] = axes.plot(values, np.full(len(values), line), "o", color=BLUE, markersize=5)[0]
        if row.reported is not None and index == 0:
            (handles["source report"],) = axes.plot(
                [factor * row.reported], [line], "D", color=VERMILLION, markersize=6, markerfacecolor="none"
            )
        if baseline is not None:
            x = factor * float(np.mean(baseline.values))
            (handles[f"baseline: {quantity.displayed_baseline}"],) = axes.plot(
                [x], [line], "|", color=GRAY, markersize=10, markeredgewidth=1.5
            )
        axes.annotate(
            shorten(row.name, 46),
            (0, line + 0.26),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            color=BLACK,
            va="bottom",
            parse_math=False,
        )
    axes.set_ylim(-0.5, len(rows) - 0.1)
    axes.set_yticks([])
    _scale_x(axes, quantity)
    unit = f" ({quantity.unit})" if quantity.unit else ""
    name = f"{quantity.label[0].upper()}{quantity.label[1:]}"
    label(axes, x=f"{name}{unit}")
    legend(drawing, list(handles.values()), list(handles))
    title = f"{name} of each setting"
    text = f"{title}: " + "; ".join(_describe(row, index, factor, quantity) for row in rows) + "."
    return ReportChart(title, text, svg(drawing, title=title, text=text))


def _scale_x(axes: Axes, quantity: TourQuantity) -> None:
    """Set a logarithmic x axis if the values span powers of ten."""
    low, high = axes.get_xlim()
    values = np.concatenate([np.asarray(line.get_xdata(), float) for line in axes.lines])
    if quantity.log and values.min() > 0 and values.max() > 10 * values.min():
        axes.set_xscale("log", nonpositive="mask")
        narrow = values.max() < 100 * values.min()
        wide = values.max() > 1e5 * values.min()
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if narrow else (1.0,), numticks=5 if wide else 9))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(float(f"{value:.6g}"))))


def _describe(row: SettingRow, index: int, factor: int, quantity: TourQuantity) -> str:
    result, baseline = row.results[index]
    text = f"{row.name}: {result}"
    if row.reported is not None and index == 0:
        text += f", in the source report {format_number(factor * row.reported)}{'%' if factor == 100 else ''}"
    return text + (f", {quantity.displayed_baseline} {baseline}" if baseline is not None else "")


# Number of quantities of a part that have a chart. The table has all of them.
CHARTS = 2


class PartView(NamedTuple):
    """Content of a part for the page.

    Args:
        outcome: the results of the part.
        charts: charts of the first quantities.
        pictures: figures of the shown training and of the data.
        omitted: figures that exceed the size limit of the page.
        shown_training: the training whose figures are shown; None for none.
    """

    outcome: PartResult
    charts: Sequence[ReportChart]
    pictures: Sequence[ReportFigure]
    omitted: Sequence[ReportFigure]
    shown_training: TourTraining | None


def draw_data(parts: Sequence[TourPart], load: Load, folder: Path) -> None:
    """Draw the data of the parts that show it, as `lstmae STUDY data` does.

    Existing figures are replaced, because they may show other data.

    Args:
        parts: the parts.
        load: returns the data of a config.
        folder: directory of the tour.
    """
    for part in parts:
        if part.data_config is not None:
            study = load_study(task_of(part.data_config))
            (drawing,) = study.describe(part.data_config, load(part.data_config)).values()
            write(_data_figure(part, folder), png(drawing))


def render_tour(
    results: TourResults,
    trainings: Sequence[TourTraining],
    folder: Path,
    level: TourLevel,
    *,
    command: str,
    written: str,
    notes: Sequence[str] = (),
    max_figure_bytes: int = MAX_FIGURE_BYTES,
) -> ReportPage:
    """Return the page of a tour.

    Args:
        results: the results of all parts.
        trainings: the trainings of the tour.
        folder: directory of the tour.
        level: the level.
        command: the command that creates this page.
        written: time of the page, as text.
        notes: notes on the data and on failed trainings.
        max_figure_bytes: largest number of bytes of all figures.
    """
    shown = [_shown_training(outcome.part, trainings) for outcome in results.outcomes]
    pictures = [
        list(_pictures(outcome.part, training, folder))
        for outcome, training in zip(results.outcomes, shown, strict=True)
    ]
    fitted = iter(fit_figures([picture for row in pictures for picture in row], max_figure_bytes))
    views, left_out = [], []
    for outcome, training, row in zip(results.outcomes, shown, pictures, strict=True):
        pairs = [(picture, next(fitted)) for picture in row]
        embedded = [reduced for _, reduced in pairs if reduced is not None]
        omitted = [picture for picture, reduced in pairs if reduced is None]
        left_out += [picture.name for picture in omitted]
        views.append(PartView(outcome, list(_charts(outcome)), embedded, omitted, training))
    verdicts = [result.decision.verdict for outcome in results.outcomes for result in outcome.claims]
    html = render_page(
        "tour.html",
        title="Tour of the source report",
        command=command,
        written=written,
        views=views,
        level=level,
        counts=[(verdict, verdicts.count(verdict)) for verdict in (CONFIRMED, REFUTED, OPEN)],
        claims=len(verdicts),
        trainings=len(trainings),
        readable=results.readable,
        missing=results.missing,
        sources=results.sources,
        environments=results.environments,
        notes=list(dict.fromkeys(notes)),
    )
    return ReportPage(html, tuple(left_out))


def _charts(outcome: PartResult) -> Iterator[ReportChart]:
    for index, quantity in enumerate(outcome.part.quantities[:CHARTS]):
        chart = settings_chart(outcome.rows, index, quantity)
        if chart:
            yield chart


def _shown_training(part: TourPart, trainings: Sequence[TourTraining]) -> TourTraining | None:
    """Return the training, with the first seed, of the setting that a part shows."""
    for setting in part.settings:
        if setting.name == part.shown_setting:
            config = _without_seed(setting.configs[0])
            return next((t for t in trainings if t.draws_figures and _without_seed(t.config) == config), None)
    return None


def _without_seed(config: Config) -> dict[str, object]:
    return {name: value for name, value in config.to_dict().items() if name != "seed"}


def _pictures(part: TourPart, training: TourTraining | None, folder: Path) -> Iterator[ReportFigure]:
    if part.data_config is not None:
        path = _data_figure(part, folder)
        options = f"{command_options(part.data_config)} --figure {shlex.quote(str(path))}"
        command = f"lstmae {task_of(part.data_config)} data {options}"
        for picture in read_figures(path.parent, folder, None, "")[0]:
            if picture.name == path.stem:
                yield picture._replace(command=command, description="The data.")
    if training is not None:
        directory = training.directory
        pictures = read_figures(directory / "figures", directory, task_of(training.config), training.command)[0]
        named = {picture.name: picture for picture in pictures}
        yield from (named[name] for name in part.figures if name in named)


def _data_figure(part: TourPart, folder: Path) -> Path:
    return folder / "figures" / f"{part.key}-data.png"
