"""How forecasts of stock prices are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

from lstm_ae.words import gain

from .results import show_files, show_metrics
from .talk import Talk

HOLIDAYS = "the next weekdays, or as far apart as a company's rows are; holidays are not known"
MOST = 20
# Days ahead that are shown of a long forecast, beside its last one.
DAYS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def show_one_day(opened: Any, talk: Talk, levels: Sequence[int], *, classical: Sequence[str] = ()) -> float | None:
    """Write the forecasts of a day ahead; show what they are worth and those of days to come.

    Returns:
        The skill over persistence.
    """
    from lstm_ae.tasks.forecasting import against_more, predict

    calibration = _calibration(opened)
    columns = predict(opened.model, opened.data, opened.data.test, levels, calibration)
    files = {
        "predictions": opened.save_predictions(columns),
        "figures": opened.run.directory / "figures",
        "run": opened.run.directory,
    }
    metrics, leaky = opened.run.metrics(), opened.data.source.leaky
    if classical:
        more = against_more(opened.model, opened.data, classical, calibration).as_json()
        metrics["test"] |= more["test"]
        metrics["verdict"] |= more["verdict"]
    show_metrics(talk, metrics, leaky)
    _show_next_day(talk, opened, columns, levels)
    show_files(talk, files)
    verdict: dict[str, Any] = metrics["verdict"]["test"]
    shown = {"metrics": metrics, "verdict": verdict, "leaky": leaky}
    talk.document(shown | {name: str(file) for name, file in files.items()})
    return _skill(metrics["test"])


def show_new_days(opened: Any, talk: Talk, levels: Sequence[int]) -> float | None:
    """Forecast data that the run was not trained on; where its days are known, show what that is worth.

    Returns:
        The skill over persistence.
    """
    from lstm_ae.tasks.forecasting import evaluate_new, predict

    calibration, *_ = opened.run.calibration()
    columns = predict(opened.model, opened.data, opened.data.test, levels, calibration)
    files = {
        "predictions": opened.save_predictions(columns, "predictions-new"),
        "run": opened.run.directory,
    }
    measured = evaluate_new(opened.model, opened.data, calibration, opened.run.baselines()).as_json()
    if measured:
        show_metrics(talk, measured, "")
    else:
        talk.show("No window has a day after it in this data, so nothing can be said of the errors")
    _show_next_day(talk, opened, columns, levels)
    show_files(talk, files)
    verdict: dict[str, Any] | None = measured.pop("verdict", {}).get("new data")
    talk.document({"metrics": measured, "verdict": verdict} | {name: str(file) for name, file in files.items()})
    return _skill(measured.get("new data"))


def _skill(measures: Mapping[str, Any] | None) -> float | None:
    """The skill over persistence, where there are measures."""
    found: float | None = measures["skill"]["value"] if measures else None
    return found


def _calibration(opened: Any) -> Any:
    """How far forecasts were off before the weights were fitted to validation as well; None where they were not."""
    return opened.judged_by.calibration()[0] if opened.judged_by else None


def _show_next_day(talk: Talk, opened: Any, columns: Mapping[str, Sequence[Any]], levels: Sequence[int]) -> None:
    """The forecasts of days that have not come yet."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    rows = [row for row in rows if row["actual"] is None]
    if "open" in opened.model.input and not rows:
        talk.show(
            "The day after the data is not forecast: its open is not known. A last row with the open alone tells it"
        )
        return
    dates = "" if "open" in opened.model.input else f" ({HOLIDAYS})"
    first = f", first {MOST} of {len(rows)} companies" if len(rows) > MOST else ""
    talk.show(f"The day after the data{dates}{first}:")
    talk.table(
        ["symbol", "date", "last known", "forecast", *(f"{level} %" for level in levels)],
        [
            (
                row["symbol"],
                row["date"],
                f"{row['persistence']:,.2f}",
                f"{row['predicted']:,.2f}",
                *(_between(row[f"low_{level}"], row[f"high_{level}"]) for level in levels),
            )
            for row in rows[:MOST]
        ],
    )
    if "open" not in opened.model.input:
        _show_left_out(talk, opened.data, [row["symbol"] for row in rows])


def _between(low: float, high: float) -> str:
    known = [f"{end:,.2f}" if end == end else "?" for end in (low, high)]
    return " to ".join(known)


def show_many_days(
    opened: Any,
    talk: Talk,
    levels: Sequence[int],
    *,
    horizon: int | None,
    paths: int,
    classical: Sequence[str] = (),
) -> float | None:
    """Forecast many days; show what each is worth and where everything is.

    Returns:
        The skill over persistence, over all days.
    """
    import numpy as np

    from lstm_ae.evaluation import Evaluation
    from lstm_ae.tasks.multistep import multistep

    new = opened.data.train.samples == 0
    calibration, seen, seed = _calibration(opened), None, opened.config.seed
    if new:
        calibration, _, until = opened.run.calibration()
        seen = opened.run.about()["data"]["symbols"], np.datetime64(until)
    result = multistep(
        opened.model,
        opened.data,
        horizon,
        levels=levels,
        paths=paths,
        seed=seed,
        calibration=calibration,
        seen=seen,
        baselines=opened.run.baselines() if new else None,
        classical=classical,
    )
    end = "-new" if new else ""
    files = {"forecast": opened.save_predictions(result.table, f"forecast{end}")}
    if result.paths is not None:
        files["paths"] = opened.save_predictions(result.paths, f"paths{end}")
    for path in opened.run.write_figures({name + end: figure for name, figure in result.figures.items()}):
        files[path.stem.removesuffix(end).replace("_", " ")] = path
    if result.steps:
        files["errors"] = opened.save_predictions(_as_columns(result.steps), f"errors{end}")
    files["run"] = opened.run.directory
    verdicts = {str(step.step): step.verdict for step in result.steps}
    overall = {"all": result.verdict} if result.verdict else {}
    evaluation = Evaluation({str(step.step): step.metrics for step in result.steps}, verdicts | overall)
    measured = evaluation.as_json()
    judged = measured.pop("verdict", {})
    _show_forecast(talk, opened.data, result.table, levels)
    if result.steps:
        talk.show(f"What the forecast is worth over {result.windows:,} test windows, by day ahead:")
        _show_steps(talk, result.steps)
        _show_rivals(talk, result.steps)
        talk.show(f"Verdict over all days ahead: {result.verdict}")
    else:
        talk.show("No window has so many days after it in this data, so nothing can be said of the errors")
    if opened.data.source.leaky:
        talk.show(f"LEAKY: {opened.data.source.leaky}")
    beyond = result.table["actual"][0] is None
    if beyond:
        talk.show(f"Dates: {HOLIDAYS}")
    if beyond:
        _show_left_out(talk, opened.data, result.table["symbol"])
    show_files(talk, files)
    talk.document(
        {
            "steps": [{"step": int(step), "metrics": row, "verdict": judged[step]} for step, row in measured.items()],
            "verdict": judged.get("all"),
            "windows": result.windows,
            "leaky": opened.data.source.leaky,
            "dates": HOLIDAYS if beyond else "",
        }
        | {name: str(path) for name, path in files.items()}
    )
    return result.persistence.skill if result.persistence else None


def _show_forecast(talk: Talk, data: Any, table: Mapping[str, Sequence[Any]], levels: Sequence[int]) -> None:
    """The forecast itself: some of its days, of as many companies as fit."""
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    last, symbols = max(table["step"]), list(dict.fromkeys(table["symbol"]))
    steps = sorted({1, last, *(step for step in DAYS if step < last)})
    some = symbols[: max(1, MOST // len(steps))]
    first = f", first {len(some)} of {len(symbols)} companies" if len(symbols) > len(some) else ""
    talk.show(f"Forecast of the {data.feature_names[0]}{first}:")
    known = rows[0]["actual"] is not None
    intervals = [level for level in levels if f"low_{level}" in table]
    talk.table(
        [
            "symbol",
            "date",
            "day",
            "last known",
            "forecast",
            *(f"{level} %" for level in intervals),
            *(["actual"] if known else []),
        ],
        [
            (
                row["symbol"],
                row["date"],
                row["step"],
                f"{row['persistence']:,.2f}",
                f"{row['predicted']:,.2f}",
                *(_between(row[f"low_{level}"], row[f"high_{level}"]) for level in intervals),
                *([f"{row['actual']:,.2f}"] if known else []),
            )
            for row in rows
            if row["symbol"] in some and row["step"] in steps
        ],
    )


def _as_columns(steps: Sequence[Any]) -> dict[str, list[Any]]:
    """Every measure of every day ahead, each beside its baselines', and the verdict in words."""
    columns: dict[str, list[Any]] = {"day": [step.step for step in steps]}
    columns["verdict"] = [str(step.verdict) for step in steps]
    for name, metric in steps[0].metrics.items():
        columns[name] = [step.metrics[name].value for step in steps]
        for rival in metric.baselines:
            columns[f"{name} {rival}"] = [step.metrics[name].baselines[rival] for step in steps]
    return columns


def _show_steps(talk: Talk, steps: Sequence[Any]) -> None:
    covered = [name for name in steps[0].metrics if name.startswith("coverage_")]
    header = ["day", "skill", "p", "theil_u", "mae (USD)", "persistence", "rmse (USD)", "persistence", "mase"]
    talk.table(
        [*header, "direction", "crps", "persistence", "random walk", *(f"in {name[9:]} %" for name in covered)],
        [_row(step, covered) for step in steps],
    )


def _show_rivals(talk: Talk, steps: Sequence[Any]) -> None:
    """The skill of every other baseline beside the model's, and the verdict on the best of them."""
    others = list(steps[0].metrics["skill"].baselines)
    if others:
        talk.show("Skill over persistence, by day ahead, and the verdict on the best baseline:")
        skills = [step.metrics["skill"] for step in steps]
        rows = [
            (step.step, *map(gain, (skill.value, *skill.baselines.values())), str(step.verdict))
            for step, skill in zip(steps, skills, strict=True)
        ]
        talk.table(["day", "model", *others, "verdict"], rows)


def _show_left_out(talk: Talk, data: Any, shown: Sequence[str]) -> None:
    """The companies of the test part that have no window up to their last day."""
    import numpy as np

    from lstm_ae.words import count, listed

    there = [data.symbols[line] for line in np.unique(data.test.company)]
    missing = [symbol for symbol in there if symbol not in set(shown)]
    if missing:
        days = f"{data.test.span - 1} days in a row before the end of its data"
        talk.show(f"Without {days}, so not forecast: {count(len(missing), 'company')} ({listed(missing)})")


def _row(step: Any, covered: Sequence[str]) -> tuple[Any, ...]:
    metrics = step.metrics
    return (
        step.step,
        gain(step.persistence.skill),
        _known(step.persistence.p, ".2g"),
        _known(metrics["theil_u"].value, ".4f"),
        *(f"{value:.4g}" for name in ("mae", "rmse") for value in (metrics[name].value, _naive(metrics[name]))),
        _known(metrics["mase"].value if "mase" in metrics else None, ".3f"),
        _known(metrics["direction"].value, ".1%"),
        *(_known(value, ".4g") for value in _crps(metrics.get("crps"))),
        *(f"{metrics[name].value:.1%}" for name in covered),
    )


def _known(value: float | None, form: str) -> str:
    return "-" if value is None or value != value else format(value, form)


def _naive(metric: Any) -> float:
    return float(metric.baselines["persistence"])


def _crps(metric: Any) -> tuple[float | None, ...]:
    if metric is None:
        return (None, None, None)
    return (metric.value, *(metric.baselines.get(name) for name in ("persistence", "random walk")))
