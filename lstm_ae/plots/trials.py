"""Figures of the trials of a search: parallel coordinates, and the objective over the epochs."""

import textwrap
from collections.abc import Collection, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from lstm_ae.plots import base
from lstm_ae.plots.base import BLACK, GRAY, Style, label, legend, number
from lstm_ae.plots.scores import (
    BEST,
    TEXT_BACKGROUND,
    axis_positions,
    finite,
    format_tick,
    score_colors,
    spell_option_name,
)


def parallel(
    names: Sequence[str],
    levels: Sequence[Sequence[object]],
    settings: Sequence[Sequence[object]],
    scores: ArrayLike,
    *,
    best: int | None = None,
    ranges: Mapping[str, bool] = {},
    higher_is_better: bool = False,
    quantity: str = "Score",
) -> Figure:
    """Draw all trials in parallel coordinates with one axis per option and one for the score.

    Darker lines are better, and the best one is red. Listed numbers with even logarithmic spacing have a logarithmic
    axis. Lines with the same listed value are shifted slightly, except the best one.

    Args:
        names: names of the options; up to eight are legible.
        levels: the listed values or the two ends of the range of each option.
        settings: value of each option in each trial.
        scores: `(trials,)` scores; the line of a NaN or infinite score ends before the last axis.
        best: index of the trial to mark; None for the one with the best score.
        ranges: whether the range is logarithmic, for each option with a range.
        higher_is_better: whether a higher score is better.
        quantity: name of the score.
    """
    values = finite(scores)
    count, last, scored = len(values), len(names), int(np.isfinite(values).sum())
    norm = score_colors(values)
    scales = [axis_positions(each, ranges.get(name), format_tick) for name, each in zip(names, levels, strict=True)]
    scales.append(axis_positions([norm.vmin, norm.vmax], isinstance(norm, LogNorm), number))
    fig = base.figure(height=3.6, width=max(base.WIDTH, 0.95 * (last + 1)))
    axes = fig.axes[0]
    x = np.arange(last + 1)
    axes.vlines(x, 0, 1, color=GRAY, linewidth=0.9, zorder=3)
    # The best trial is first, and trials without a score are last.
    order = np.argsort(-values if higher_is_better else values, kind="stable").tolist()
    order.sort(key=lambda k: k != best)
    rows = [[*settings[k], values[k]] for k in order]
    paths = [np.c_[x, [position(value) for (position, _), value in zip(scales, row, strict=True)]] for row in rows]
    listed = [k for k, name in enumerate(names) if name not in ranges]
    for rank, path in enumerate(paths[1:], 1):
        path[listed, 1] += 0.05 * (rank / count - 0.5)
    handles: dict[str, Artist] = {}
    if scored:
        handles[f"Best: {number(rows[0][-1])}"] = axes.plot(*paths[0].T, marker="o", markersize=4, **BEST)[0]
    if scored > 1:
        colors = matplotlib.colormaps["Blues"](0.95 - 0.7 * np.arange(1, scored) / count)
        # Drawn from the worst to the best, so that better lines are on top.
        axes.add_collection(LineCollection(paths[1:scored][::-1], colors=colors[::-1], linewidth=0.8, zorder=2))
        handles["Other trials (darker is better)"] = Line2D([], [], color=colors[0], linewidth=1.5)
    if scored < count:
        # The line extends beyond the last option, so that it is visible with a single option.
        ends = [np.r_[path[:-1], [[last - 0.75, path[-2, 1]]]] for path in paths[scored:]]
        handles["No score"] = axes.add_collection(
            LineCollection(ends, color=GRAY, linestyle=":", linewidth=1, zorder=1)
        )
    for k, (_, ticks) in enumerate(scales if scored else scales[:-1]):
        side, gap = ("left", 0.05) if k == last else ("right", -0.05)
        for y, text in ticks.items():
            axes.text(
                k + gap, y, text, ha=side, va="center", fontsize=7, zorder=6, parse_math=False, bbox=TEXT_BACKGROUND
            )
    labels = [textwrap.fill(spell_option_name(name), 14) for name in (*names, quantity)]
    axes.set_xticks(x, labels, parse_math=False, fontsize=8)
    axes.tick_params(length=0, pad=6, labelcolor=BLACK)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(yticks=[], xlim=(-0.4, last + 0.4), ylim=(-0.04, 1.04))
    label(axes, title=f"{count:,} trial{'s' * (count != 1)}{'' if scored else ', none with a score'}")
    if handles:
        legend(fig, list(handles.values()), list(handles))
    return fig


def curves(
    histories: Sequence[ArrayLike],
    *,
    pruned: Collection[int] = (),
    best: Collection[int] = (),
    quantity: str = "Score",
) -> Figure:
    """Draw the objective over the epochs, one line per training.

    Args:
        histories: the values after each epoch of each training; their lengths may differ.
        pruned: indices of the pruned trainings, which are dashed.
        best: indices of the trainings of the best trial, which are bold.
        quantity: name of the objective.
    """
    rows = [finite(values) for values in histories]
    fig = base.figure(height=3.4)
    axes = fig.axes[0]
    thin: Style = {"color": "#9a9a9a", "linewidth": 0.8, "zorder": 2}
    styles: dict[str, Style] = {
        "Best": BEST,
        "Others": thin,
        "Pruned": {**thin, "linestyle": (0, (3, 2)), "marker": "x", "markersize": 3.5, "markevery": [-1]},
    }
    handles: dict[str, Artist] = {}
    for k, row in enumerate(rows):
        kind = "Best" if k in best else "Pruned" if k in pruned else "Others"
        if np.isfinite(row).any():
            dot = {"marker": "o", "markersize": 3.5} if np.isfinite(row).sum() == 1 else {}
            handles[kind] = axes.plot(np.arange(1, len(row) + 1), row, **{**dot, **styles[kind]})[0]
    if isinstance(score_colors(np.concatenate([*rows, np.empty(0)])), LogNorm):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(base.Thousands())
    if handles:
        legend(fig, [handles[kind] for kind in sorted(handles)], sorted(handles))
    else:
        axes.set(xticks=[], yticks=[])
    note = ", none with a score" if not handles else f", {len(set(pruned)):,} pruned" if pruned else ""
    label(axes, x="Epoch", y=spell_option_name(quantity), title=f"{len(rows):,} training{'s' * (len(rows) != 1)}{note}")
    return fig
