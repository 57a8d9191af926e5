"""Show the forecasts of `lstmae snp predict`: one day ahead, or many."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from lstm_ae.formatting import format_count, format_decimal, format_names, format_range, format_skill

from .backend import import_tensorflow
from .console import Console
from .results import show_files, show_metrics

if TYPE_CHECKING:
    import numpy as np

    from lstm_ae.data.windows import Data
    from lstm_ae.evaluation import Metric, Verdict
    from lstm_ae.experiment import RunWithData
    from lstm_ae.forecasting.intervals import Calibration
    from lstm_ae.json_types import JsonMapping
    from lstm_ae.model_store import ModelStore
    from lstm_ae.studies.snp.multistep import HorizonStep
    from lstm_ae.table_files import TableColumns

Item = TypeVar("Item")

HOLIDAY_NOTE = "the next weekdays, or as far apart as a company's rows are; holidays are not known"

# Companies that are shown without and with --verbose.
MAX_SHOWN_COMPANIES = 3
MAX_SHOWN_LINES = 20

# Days ahead that are shown of a long forecast, beside its last one.
SHOWN_DAYS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def show_one_day(opened: "RunWithData", console: Console, levels: Sequence[int]) -> float | None:
    """Write the forecasts of a day ahead; show their errors and the forecasts of the day after the data.

    Args:
        opened: the opened run. Data without a training split is new to it.
        console: the output.
        levels: levels of the intervals in percent.

    Returns:
        The skill over persistence; None if no forecast has an actual value.
    """
    from lstm_ae.forecasting.baselines import PriceBaselines
    from lstm_ae.studies.snp.forecasting import compare_with_persistence, evaluate_new, predict

    new, leaky = opened.data.train.samples == 0, opened.data.source.leaky
    calibration = _calibration(opened.run) if new else _validation_calibration(opened)
    columns = predict(opened.model, opened.data, opened.data.test, levels, calibration)
    files = {"predictions": opened.save_predictions(columns, "predictions-new" if new else "predictions")}
    if new:
        assert calibration is not None
        baselines = opened.run.find_artifact(PriceBaselines) or PriceBaselines()
        metrics = evaluate_new(opened.model, opened.data, calibration, baselines).as_json()
    else:
        files["figures"] = opened.run.directory / "figures"
        metrics = opened.run.metrics()
    files["run"] = opened.run.directory
    measures = metrics.get("new data" if new else "test")
    against = None
    if measures:
        against = compare_with_persistence(opened.model, opened.data)
        companies = format_count(len(dict.fromkeys(columns["symbol"])), "company")
        console.show(f"Forecast of the {opened.data.feature_names[0]}, 1 day ahead, for {companies}:")
        show_metrics(console, metrics, "" if new else leaky, compare_by_day({1: against}, against))
    else:
        console.show("No window is followed by a day in this data, so there are no errors")
    _show_next_day(console, opened, columns, levels)
    show_files(console, files)
    if new:
        document = {"verdict": metrics.pop("verdict", {}).get("new data"), "metrics": metrics}
    else:
        document = {"metrics": metrics, "verdict": metrics["verdict"]["test"], "leaky": leaky}
    document["persistence"] = against.as_json() if against else None
    console.document(document | {name: str(file) for name, file in files.items()})
    skill: float | None = measures["skill"]["value"] if measures else None
    return skill


def _validation_calibration(opened: "RunWithData") -> "Calibration | None":
    """Return the calibration from before the refit on the validation data; None without a refit."""
    return _calibration(opened.before_refit) if opened.before_refit else None


def _seen(opened: "RunWithData") -> "tuple[Sequence[str], np.datetime64] | None":
    """Return the companies of the training and its last day of validation; None if the data are those of the run."""
    import numpy as np

    from lstm_ae.forecasting.intervals import PriceCalibration

    if opened.data.train.samples:
        return None
    return opened.run.about()["data"]["symbols"], np.datetime64(opened.run.artifact(PriceCalibration).until)


def _calibration(run: "ModelStore") -> "Calibration":
    """Return the calibration of the intervals of a run."""
    from lstm_ae.forecasting.intervals import PriceCalibration

    return run.artifact(PriceCalibration).calibration


def _show_next_day(console: Console, opened: "RunWithData", columns: "TableColumns", levels: Sequence[int]) -> None:
    """Show the forecasts of days after the data."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    rows = [row for row in rows if row["actual"] is None]
    if "open" in opened.model.inputs and not rows:
        console.show(
            "The day after the data is not forecast because its open is not known. Add a last row with the open only"
        )
        return
    dates = "" if "open" in opened.model.inputs else f" ({HOLIDAY_NOTE})"
    most = MAX_SHOWN_LINES if console.verbose else MAX_SHOWN_COMPANIES
    first = f", first {most} of {len(rows)} companies" if len(rows) > most else ""
    console.show(f"The day after the data{dates}{first}:")
    _show_rows(console, rows[:most], levels)
    if "open" not in opened.model.inputs:
        _show_missing_companies(console, opened.data, [row["symbol"] for row in rows])


def show_many_days(opened: "RunWithData", console: Console, levels: Sequence[int], horizon: int | None) -> float | None:
    """Forecast many days; show the forecast, the verdict, how far ahead it is useful, and the files.

    With `--verbose`, tables of the forecast and of the metrics by day ahead follow.

    Returns:
        The skill over persistence, over all days.
    """
    from lstm_ae.evaluation import Evaluation
    from lstm_ae.forecasting.baselines import PriceBaselines
    from lstm_ae.studies.snp.multistep import forecast_multistep

    # Keras computes forecasts of several days.
    import_tensorflow(console)
    new = opened.data.train.samples == 0
    calibration = _calibration(opened.run) if new else _validation_calibration(opened)
    result = forecast_multistep(
        opened.model,
        opened.data,
        horizon,
        levels=levels,
        calibration=calibration,
        seen=_seen(opened),
        baselines=opened.run.find_artifact(PriceBaselines) if new else None,
    )
    end = "-new" if new else ""
    files = {"forecast": opened.save_predictions(result.table, f"forecast{end}")}
    for path in opened.run.write_figures({name + end: figure for name, figure in result.figures.items()}):
        files[path.stem.removesuffix(end).replace("_", " ")] = path
    if result.steps:
        files["errors"] = opened.save_predictions(_steps_to_columns(result.steps), f"errors{end}")
    files["run"] = opened.run.directory
    verdicts = {str(step.step): step.verdict for step in result.steps}
    overall = {"all": result.verdict} if result.verdict else {}
    evaluation = Evaluation({str(step.step): step.metrics for step in result.steps}, verdicts | overall)
    measured = evaluation.as_json()
    judged = measured.pop("verdict", {})
    _describe_forecast(console, opened.data, result.table)
    if result.persistence is not None:
        console.show(f"Verdict over all days ahead, in {result.windows:,} test windows: {result.verdict}")
        persistence = {step.step: step.persistence for step in result.steps}
        skills = {step.step: step.metrics["skill"] for step in result.steps}
        for line in compare_by_day(persistence, result.persistence, skills):
            console.show(line)
        if text := compare_distribution(result.steps):
            console.show(text)
    else:
        console.show("No window is followed by enough days in this data, so there are no errors")
    if opened.data.source.leaky:
        console.show(f"LEAKY: {opened.data.source.leaky}")
    beyond = result.table["actual"][0] is None
    if beyond:
        console.show(f"Dates: {HOLIDAY_NOTE}")
        _show_missing_companies(console, opened.data, result.table["symbol"])
    show_files(console, files)
    if console.verbose:
        _show_forecast(console, opened.data, result.table, levels)
        if result.steps:
            console.show("Metrics by day ahead:")
            _show_steps(console, result.steps)
            _show_baselines(console, result.steps)
    console.document(
        {
            "steps": [{"step": int(step), "metrics": row, "verdict": judged[step]} for step, row in measured.items()],
            "verdict": judged.get("all"),
            "windows": result.windows,
            "leaky": opened.data.source.leaky,
            "dates": HOLIDAY_NOTE if beyond else "",
        }
        | {name: str(path) for name, path in files.items()}
    )
    return result.persistence.skill if result.persistence else None


def _describe_forecast(console: Console, data: "Data", table: "TableColumns") -> None:
    """Show in one line per company what was forecast: the first and the last day, for the first companies."""
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    symbols = list(dict.fromkeys(table["symbol"]))
    console.show(
        f"Forecast of the {data.feature_names[0]}, {format_count(max(table['step']), 'day')} ahead, for "
        f"{format_count(len(symbols), 'company')}:"
    )
    for symbol in symbols[:MAX_SHOWN_COMPANIES]:
        days = [row for row in rows if row["symbol"] == symbol]
        texts = [f"{row['predicted']:,.2f} on {row['date']}" for row in _first_and_last(days)]
        console.show(f"  {symbol}: {', '.join(texts)} (last known price {days[0]['persistence']:,.2f})")
    if len(symbols) > MAX_SHOWN_COMPANIES:
        console.show(
            f"  and {format_count(len(symbols) - MAX_SHOWN_COMPANIES, 'further company')}, see the forecast file"
        )


def compare_by_day(
    persistence: Mapping[int, "Verdict"], overall: "Verdict", skills: Mapping[int, "Metric"] | None = None
) -> list[str]:
    """Return lines that compare the forecast with persistence and a linear regression, and say how far it is useful.

    Args:
        persistence: comparison with persistence by day ahead.
        overall: comparison with persistence over all days ahead.
        skills: skill by day ahead to show beside that of a linear regression; None to leave it out.
    """
    from lstm_ae.forecasting.baselines import LINEAR_NAME

    days = "over all days ahead" if len(persistence) > 1 else "one day ahead"
    lines = [f'Against persistence ("tomorrow = today"), {days}: {overall}']
    texts = [
        f"day {day} {format_skill(skill.value)} ({LINEAR_NAME} {format_skill(skill.baselines[LINEAR_NAME])})"
        for day, skill in _first_and_last(list((skills or {}).items()))
        if LINEAR_NAME in skill.baselines
    ]
    if texts:
        lines.append(f"Skill over persistence: {', '.join(texts)}")
    return [*lines, _describe_reach(persistence)]


def compare_distribution(steps: Sequence["HorizonStep"]) -> str:
    """Return a sentence if the forecast distribution is worse than that of a random walk over all days ahead."""
    scores = [step.metrics["crps"] for step in steps if "crps" in step.metrics]
    pairs = [(each.value, each.baselines["random walk"]) for each in scores if "random walk" in each.baselines]
    ours, walk = (sum(values) / len(pairs) for values in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
    if ours <= walk:
        return ""
    return f"The forecast distribution is worse than that of a random walk: CRPS {ours:.4g}, random walk {walk:.4g}"


def _describe_reach(persistence: Mapping[int, "Verdict"]) -> str:
    """Return a sentence on how far ahead the forecast is better than persistence."""
    better = [day for day, verdict in persistence.items() if verdict.outcome == "beats"]
    if len(persistence) == 1:
        return f"{'Useful:' if better else 'Not useful: not'} significantly better than persistence."
    first_tie = next((day for day in persistence if day not in better), None)
    if first_tie is None:
        return f"Useful on all days ahead (1 to {max(persistence)}): significantly better than persistence."
    if first_tie > 1:
        return f"Useful up to day {first_tie - 1}: on day {first_tie} it is not significantly better than persistence."
    if better:
        return f"Of little use: significantly better than persistence only on day {', '.join(map(str, better))}."
    return "Not useful: on no day significantly better than persistence."


def _first_and_last(items: Sequence[Item]) -> Sequence[Item]:
    return items[:: max(len(items) - 1, 1)]


def _show_forecast(console: Console, data: "Data", table: "TableColumns", levels: Sequence[int]) -> None:
    """Show some days of the forecast for the first companies."""
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    last, symbols = max(table["step"]), list(dict.fromkeys(table["symbol"]))
    steps = sorted({1, last, *(step for step in SHOWN_DAYS if step < last)})
    some = symbols[: max(1, MAX_SHOWN_LINES // len(steps))]
    first = f", first {len(some)} of {len(symbols)} companies" if len(symbols) > len(some) else ""
    console.show(f"Forecast of the {data.feature_names[0]}{first}:")
    chosen = [row for row in rows if row["symbol"] in some and row["step"] in steps]
    _show_rows(console, chosen, [level for level in levels if f"low_{level}" in table])


def _show_rows(console: Console, rows: Sequence["JsonMapping"], levels: Sequence[int]) -> None:
    """Show the columns that forecasts of one or of many days have, the prices with two decimals."""
    stepped = bool(rows) and "step" in rows[0]
    known = bool(rows) and rows[0]["actual"] is not None
    header = ["symbol", "date", *(["day"] if stepped else []), "last known", "forecast", *(f"{n}%" for n in levels)]
    console.table(
        [*header, *(["actual"] if known else [])],
        [
            (
                *(row["symbol"], row["date"], *([row["step"]] if stepped else [])),
                *(f"{row[name]:,.2f}" for name in ("persistence", "predicted")),
                *(format_range(row[f"low_{level}"], row[f"high_{level}"], ",.2f") for level in levels),
                *([f"{row['actual']:,.2f}"] if known else []),
            )
            for row in rows
        ],
    )


def _steps_to_columns(steps: Sequence["HorizonStep"]) -> "TableColumns":
    """Return every measure by day ahead, with its baselines and the verdict, as table columns."""
    columns: TableColumns = {"day": [step.step for step in steps]}
    columns["verdict"] = [str(step.verdict) for step in steps]
    for name, metric in steps[0].metrics.items():
        columns[name] = [step.metrics[name].value for step in steps]
        for rival in metric.baselines:
            columns[f"{name} {rival}"] = [step.metrics[name].baselines[rival] for step in steps]
    return columns


def _show_steps(console: Console, steps: Sequence["HorizonStep"]) -> None:
    covered = [name for name in steps[0].metrics if name.startswith("coverage_")]
    header = ["day", "skill", "p", "theil_u", "mae (USD)", "persistence", "rmse (USD)", "persistence", "mase"]
    console.table(
        [*header, "direction", "crps", "persistence", "random walk", *(f"in {name[9:]}%" for name in covered)],
        [_step_row(step, covered) for step in steps],
    )


def _show_baselines(console: Console, steps: Sequence["HorizonStep"]) -> None:
    """Show the skill of the model and of the other baselines, and the verdict on the best of them."""
    others = list(steps[0].metrics["skill"].baselines)
    if others:
        console.show("Skill over persistence, by day ahead, and the verdict on the best baseline:")
        skills = [step.metrics["skill"] for step in steps]
        rows = [
            (step.step, *map(format_skill, (skill.value, *skill.baselines.values())), str(step.verdict))
            for step, skill in zip(steps, skills, strict=True)
        ]
        console.table(["day", "model", *others, "verdict"], rows)


def _show_missing_companies(console: Console, data: "Data", shown: Iterable[object]) -> None:
    """Show the companies of the test split without a window that ends with their last day."""
    import numpy as np

    assert data.test.line is not None
    there = [data.symbols[line] for line in np.unique(data.test.line)]
    missing = [symbol for symbol in there if symbol not in set(shown)]
    if missing:
        days = f"{data.test.span - 1} consecutive days before the end of its data"
        console.show(
            f"Without {days}, so not forecast: {format_count(len(missing), 'company')} ({format_names(missing)})"
        )


def _step_row(step: "HorizonStep", covered: Sequence[str]) -> tuple[object, ...]:
    metrics = step.metrics
    errors = [(metric.value, metric.baselines["persistence"]) for metric in (metrics["mae"], metrics["rmse"])]
    crps = metrics.get("crps")
    scores: tuple[float | None, ...] = (None, None, None)
    if crps is not None:
        scores = (crps.value, *(crps.baselines.get(name) for name in ("persistence", "random walk")))
    return (
        step.step,
        format_skill(step.persistence.skill),
        format_decimal(step.persistence.p, ".2g"),
        format_decimal(metrics["theil_u"].value, ".4f"),
        *(format_decimal(value, ".4g") for pair in errors for value in pair),
        format_decimal(metrics["mase"].value if "mase" in metrics else None, ".3f"),
        format_decimal(metrics["direction"].value, ".1%"),
        *(format_decimal(value, ".4g") for value in scores),
        *(f"{metrics[name].value:.1%}" for name in covered),
    )
