"""Figures of the trials of a search: all as parallel coordinates, and their objective over the epochs."""

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from lstm_ae.plots import base
from lstm_ae.plots.base import BLACK, GREY, label, legend, number
from lstm_ae.plots.scores import BEST, PLATE, axis_positions, finite, format_tick, score_colours, spell_option_name


def parallel(
    names: Sequence[str],
    levels: Sequence[Sequence[Any]],
    settings: Sequence[Sequence[Any]],
    scores: ArrayLike,
    *,
    best: int | None = None,
    ranges: Mapping[str, bool] = {},
    higher_is_better: bool = False,
    quantity: str = "Score",
) -> Figure:
    """All trials as lines across one vertical axis an option, and the score; the darker, the better, the best in red.

    Listed numbers that are spaced evenly in logarithms get a logarithmic axis, names stand evenly. Lines with the same
    listed value run a little apart, the best exactly through it.

    Args:
        names, settings, best: as for `heat`; up to eight options stay legible.
        levels: for each option, its listed values, or the two ends of its range.
        scores: `(trials,)`; where NaN or infinite, the line ends before the last axis.
        ranges: of the options with a range, whether it is logarithmic.
    """
    found = finite(scores)
    count, last, scored = len(found), len(names), int(np.isfinite(found).sum())
    norm = score_colours(found)
    scales = [axis_positions(each, ranges.get(name), format_tick) for name, each in zip(names, levels, strict=True)]
    scales.append(axis_positions([norm.vmin, norm.vmax], isinstance(norm, LogNorm), number))
    drawn = base.figure(height=3.6, width=max(base.WIDTH, 0.95 * (last + 1)))
    axes = drawn.axes[0]
    x = np.arange(last + 1)
    axes.vlines(x, 0, 1, color=GREY, linewidth=0.9, zorder=3)
    # The winner first, those without a score last.
    order = np.argsort(-found if higher_is_better else found, kind="stable").tolist()
    order.sort(key=lambda k: k != best)
    rows = [[*settings[k], found[k]] for k in order]
    paths = [np.c_[x, [place(value) for (place, _), value in zip(scales, row, strict=True)]] for row in rows]
    listed = [k for k, name in enumerate(names) if name not in ranges]
    for rank, path in enumerate(paths[1:], 1):
        path[listed, 1] += 0.05 * (rank / count - 0.5)
    handles: dict[str, Any] = {}
    if scored:
        handles[f"Best: {number(rows[0][-1])}"] = axes.plot(*paths[0].T, marker="o", markersize=4, **BEST)[0]
    if scored > 1:
        colours = matplotlib.colormaps["Blues"](0.95 - 0.7 * np.arange(1, scored) / count)
        # From the worst up, so that the better lie on top.
        axes.add_collection(LineCollection(paths[1:scored][::-1], colors=colours[::-1], linewidth=0.8, zorder=2))
        handles["Other trials: the darker, the better"] = Line2D([], [], color=colours[0], linewidth=1.5)
    if scored < count:
        # Half a step beyond the last option: with a single option there is no other line to see.
        ends = [np.r_[path[:-1], [[last - 0.75, path[-2, 1]]]] for path in paths[scored:]]
        handles["No score"] = axes.add_collection(
            LineCollection(ends, color=GREY, linestyle=":", linewidth=1, zorder=1)
        )
    for k, (_, ticks) in enumerate(scales if scored else scales[:-1]):
        side, gap = ("left", 0.05) if k == last else ("right", -0.05)
        for at, text in ticks.items():
            axes.text(k + gap, at, text, ha=side, va="center", fontsize=7, zorder=6, parse_math=False, bbox=PLATE)
    words = [textwrap.fill(spell_option_name(name), 14) for name in (*names, quantity)]
    axes.set_xticks(x, words, parse_math=False, fontsize=8)
    axes.tick_params(length=0, pad=6, labelcolor=BLACK)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(yticks=[], xlim=(-0.4, last + 0.4), ylim=(-0.04, 1.04))
    label(axes, title=f"{count:,} trial{'s' * (count != 1)}{'' if scored else ', none with a score'}")
    if handles:
        legend(drawn, list(handles.values()), list(handles))
    return drawn


def curves(
    histories: Sequence[ArrayLike],
    *,
    pruned: Collection[int] = (),
    best: Collection[int] = (),
    quantity: str = "Score",
) -> Figure:
    """The objective over the epochs, one thin line a training: dashed where it was pruned, bold and on top the best.

    Args:
        histories: the values after each epoch, one sequence a training; they may differ in length or be empty.
        pruned, best: which of them; several are best where the winner was trained with several seeds.
    """
    rows = [finite(values) for values in histories]
    drawn = base.figure(height=3.4)
    axes = drawn.axes[0]
    thin: dict[str, Any] = {"color": "#9a9a9a", "linewidth": 0.8, "zorder": 2}
    looks: dict[str, dict[str, Any]] = {
        "Best": BEST,
        "Others": thin,
        "Pruned": {**thin, "linestyle": (0, (3, 2)), "marker": "x", "markersize": 3.5, "markevery": [-1]},
    }
    handles: dict[str, Any] = {}
    for k, row in enumerate(rows):
        kind = "Best" if k in best else "Pruned" if k in pruned else "Others"
        if np.isfinite(row).any():
            dot = {"marker": "o", "markersize": 3.5} if np.isfinite(row).sum() == 1 else {}
            handles[kind] = axes.plot(np.arange(1, len(row) + 1), row, **{**dot, **looks[kind]})[0]
    if isinstance(score_colours(np.concatenate([*rows, np.empty(0)])), LogNorm):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(base.Thousands())
    if handles:
        legend(drawn, [handles[kind] for kind in sorted(handles)], sorted(handles))
    else:
        axes.set(xticks=[], yticks=[])
    note = ", none with a score" if not handles else f", {len(set(pruned)):,} pruned" if pruned else ""
    label(axes, x="Epoch", y=spell_option_name(quantity), title=f"{len(rows):,} training{'s' * (len(rows) != 1)}{note}")
    return drawn
