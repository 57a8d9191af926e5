"""`lstmae snp`: what the stock study has besides the verbs of every study."""

import dataclasses
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from lstm_ae.config import TASKS, Config, Snp
from lstm_ae.errors import ConfigError, LeakageError
from lstm_ae.formatting import format_count, format_decimal, format_names, format_range, format_skill

from . import dry_run, training
from .backend import import_tensorflow
from .console import Console
from .errors import Interrupted
from .options import (
    Folder,
    Folds,
    GivenOptions,
    Levels,
    RequiredSkill,
    RunArgument,
    RunChoice,
    command,
    declare,
    parse_levels,
)
from .search import split_values
from .training import check_skill, describe_data, show_files, show_metrics, show_predictions, show_verdicts

HOLIDAY_NOTE = "the next weekdays, or as far apart as a company's rows are; holidays are not known"

MAX_SHOWN_LINES = 20

# Days ahead that are shown of a long forecast, beside its last one.
SHOWN_DAYS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def show_one_day(
    opened: Any, console: Console, levels: Sequence[int], *, classical: Sequence[str] = ()
) -> float | None:
    """Write the forecasts of a day ahead; show what they are worth and those of days to come.

    Returns:
        The skill over persistence.
    """
    from lstm_ae.studies.snp.forecasting import compare_more_baselines, predict

    calibration = _validation_calibration(opened)
    columns = predict(opened.model, opened.data, opened.data.test, levels, calibration)
    files = {
        "predictions": opened.save_predictions(columns),
        "figures": opened.run.directory / "figures",
        "run": opened.run.directory,
    }
    metrics, leaky = opened.run.metrics(), opened.data.source.leaky
    if classical:
        more = compare_more_baselines(opened.model, opened.data, classical, calibration).as_json()
        metrics["test"] |= more["test"]
        metrics["verdict"] |= more["verdict"]
    show_metrics(console, metrics, leaky)
    _show_next_day(console, opened, columns, levels)
    show_files(console, files)
    verdict: dict[str, Any] = metrics["verdict"]["test"]
    shown = {"metrics": metrics, "verdict": verdict, "leaky": leaky}
    console.document(shown | {name: str(file) for name, file in files.items()})
    return _persistence_skill(metrics["test"])


def show_new_days(opened: Any, console: Console, levels: Sequence[int]) -> float | None:
    """Forecast data that the run was not trained on; where its days are known, show what that is worth.

    Returns:
        The skill over persistence.
    """
    from lstm_ae.studies.snp.forecasting import evaluate_new, predict

    calibration, *_ = opened.run.calibration()
    columns = predict(opened.model, opened.data, opened.data.test, levels, calibration)
    files = {
        "predictions": opened.save_predictions(columns, "predictions-new"),
        "run": opened.run.directory,
    }
    measured = evaluate_new(opened.model, opened.data, calibration, opened.run.baselines()).as_json()
    if measured:
        show_metrics(console, measured, "")
    else:
        console.show("No window has a day after it in this data, so nothing can be said of the errors")
    _show_next_day(console, opened, columns, levels)
    show_files(console, files)
    verdict: dict[str, Any] | None = measured.pop("verdict", {}).get("new data")
    console.document({"metrics": measured, "verdict": verdict} | {name: str(file) for name, file in files.items()})
    return _persistence_skill(measured.get("new data"))


def _persistence_skill(measures: Mapping[str, Any] | None) -> float | None:
    """Return the skill over persistence; None without measures."""
    found: float | None = measures["skill"]["value"] if measures else None
    return found


def _validation_calibration(opened: Any) -> Any:
    """Return the calibration from before the refit on the validation data; None without a refit."""
    return opened.judged_by.calibration()[0] if opened.judged_by else None


def _show_next_day(console: Console, opened: Any, columns: Mapping[str, Sequence[Any]], levels: Sequence[int]) -> None:
    """Show the forecasts of days after the data."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    rows = [row for row in rows if row["actual"] is None]
    if "open" in opened.model.input and not rows:
        console.show(
            "The day after the data is not forecast: its open is not known. A last row with the open alone tells it"
        )
        return
    dates = "" if "open" in opened.model.input else f" ({HOLIDAY_NOTE})"
    first = f", first {MAX_SHOWN_LINES} of {len(rows)} companies" if len(rows) > MAX_SHOWN_LINES else ""
    console.show(f"The day after the data{dates}{first}:")
    console.table(
        ["symbol", "date", "last known", "forecast", *(f"{level} %" for level in levels)],
        [
            (
                row["symbol"],
                row["date"],
                f"{row['persistence']:,.2f}",
                f"{row['predicted']:,.2f}",
                *(format_range(row[f"low_{level}"], row[f"high_{level}"], ",.2f") for level in levels),
            )
            for row in rows[:MAX_SHOWN_LINES]
        ],
    )
    if "open" not in opened.model.input:
        _show_missing_companies(console, opened.data, [row["symbol"] for row in rows])


def show_many_days(
    opened: Any,
    console: Console,
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
    from lstm_ae.studies.snp.multistep import forecast_multistep

    new = opened.data.train.samples == 0
    calibration, seen, seed = _validation_calibration(opened), None, opened.config.seed
    if new:
        calibration, _, until = opened.run.calibration()
        seen = opened.run.about()["data"]["symbols"], np.datetime64(until)
    result = forecast_multistep(
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
        files["errors"] = opened.save_predictions(_steps_to_columns(result.steps), f"errors{end}")
    files["run"] = opened.run.directory
    verdicts = {str(step.step): step.verdict for step in result.steps}
    overall = {"all": result.verdict} if result.verdict else {}
    evaluation = Evaluation({str(step.step): step.metrics for step in result.steps}, verdicts | overall)
    measured = evaluation.as_json()
    judged = measured.pop("verdict", {})
    _show_forecast(console, opened.data, result.table, levels)
    if result.steps:
        console.show(f"What the forecast is worth over {result.windows:,} test windows, by day ahead:")
        _show_steps(console, result.steps)
        _show_baselines(console, result.steps)
        console.show(f"Verdict over all days ahead: {result.verdict}")
    else:
        console.show("No window has so many days after it in this data, so nothing can be said of the errors")
    if opened.data.source.leaky:
        console.show(f"LEAKY: {opened.data.source.leaky}")
    beyond = result.table["actual"][0] is None
    if beyond:
        console.show(f"Dates: {HOLIDAY_NOTE}")
    if beyond:
        _show_missing_companies(console, opened.data, result.table["symbol"])
    show_files(console, files)
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


def _show_forecast(console: Console, data: Any, table: Mapping[str, Sequence[Any]], levels: Sequence[int]) -> None:
    """Show some days of the forecast for the first companies."""
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    last, symbols = max(table["step"]), list(dict.fromkeys(table["symbol"]))
    steps = sorted({1, last, *(step for step in SHOWN_DAYS if step < last)})
    some = symbols[: max(1, MAX_SHOWN_LINES // len(steps))]
    first = f", first {len(some)} of {len(symbols)} companies" if len(symbols) > len(some) else ""
    console.show(f"Forecast of the {data.feature_names[0]}{first}:")
    known = rows[0]["actual"] is not None
    intervals = [level for level in levels if f"low_{level}" in table]
    console.table(
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
                *(format_range(row[f"low_{level}"], row[f"high_{level}"], ",.2f") for level in intervals),
                *([f"{row['actual']:,.2f}"] if known else []),
            )
            for row in rows
            if row["symbol"] in some and row["step"] in steps
        ],
    )


def _steps_to_columns(steps: Sequence[Any]) -> dict[str, list[Any]]:
    """Return every measure by day ahead, with its baselines and the verdict, as table columns."""
    columns: dict[str, list[Any]] = {"day": [step.step for step in steps]}
    columns["verdict"] = [str(step.verdict) for step in steps]
    for name, metric in steps[0].metrics.items():
        columns[name] = [step.metrics[name].value for step in steps]
        for rival in metric.baselines:
            columns[f"{name} {rival}"] = [step.metrics[name].baselines[rival] for step in steps]
    return columns


def _show_steps(console: Console, steps: Sequence[Any]) -> None:
    covered = [name for name in steps[0].metrics if name.startswith("coverage_")]
    header = ["day", "skill", "p", "theil_u", "mae (USD)", "persistence", "rmse (USD)", "persistence", "mase"]
    console.table(
        [*header, "direction", "crps", "persistence", "random walk", *(f"in {name[9:]} %" for name in covered)],
        [_step_row(step, covered) for step in steps],
    )


def _show_baselines(console: Console, steps: Sequence[Any]) -> None:
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


def _show_missing_companies(console: Console, data: Any, shown: Sequence[str]) -> None:
    """Show the companies of the test part without a window that ends with their last day."""
    import numpy as np

    there = [data.symbols[line] for line in np.unique(data.test.company)]
    missing = [symbol for symbol in there if symbol not in set(shown)]
    if missing:
        days = f"{data.test.span - 1} days in a row before the end of its data"
        console.show(
            f"Without {days}, so not forecast: {format_count(len(missing), 'company')} ({format_names(missing)})"
        )


def _step_row(step: Any, covered: Sequence[str]) -> tuple[Any, ...]:
    metrics = step.metrics
    return (
        step.step,
        format_skill(step.persistence.skill),
        format_decimal(step.persistence.p, ".2g"),
        format_decimal(metrics["theil_u"].value, ".4f"),
        *(
            f"{value:.4g}"
            for name in ("mae", "rmse")
            for value in (metrics[name].value, _persistence_value(metrics[name]))
        ),
        format_decimal(metrics["mase"].value if "mase" in metrics else None, ".3f"),
        format_decimal(metrics["direction"].value, ".1%"),
        *(format_decimal(value, ".4g") for value in _crps_values(metrics.get("crps"))),
        *(f"{metrics[name].value:.1%}" for name in covered),
    )


def _persistence_value(metric: Any) -> float:
    return float(metric.baselines["persistence"])


def _crps_values(metric: Any) -> tuple[float | None, ...]:
    if metric is None:
        return (None, None, None)
    return (metric.value, *(metric.baselines.get(name) for name in ("persistence", "random walk")))


def show_audit(where: str, console: Console, data: str | None) -> None:
    """Show what an audit of a run finds; raises `Leak` where the future reaches its forecasts."""
    from lstm_ae.run import open_run

    run = open_run(where, "snp")
    run.metrics()
    import_tensorflow(console)
    from lstm_ae.data.prices import prepare_prices, read_quotes
    from lstm_ae.experiment import open_trained
    from lstm_ae.studies.snp.audit import audit

    config = run.config()
    assert isinstance(config, Snp)
    config = config if data is None else dataclasses.replace(config, data=data)
    quotes = read_quotes(config.data, config.fields)
    opened = open_trained(run, prepare_prices(config, quotes))
    describe_data(opened.data, console)
    findings = audit(opened.model, config, opened.data, quotes)
    console.table(["check", "outcome", "what was seen"], [tuple(finding) for finding in findings])
    console.document({"run": str(run.directory), "findings": [finding._asdict() for finding in findings]})
    leaks = [finding.check for finding in findings if finding.outcome == "leak"]
    if leaks:
        raise LeakageError(f"Something of the future reaches {str(run.directory)!r}: {', '.join(leaks)}")


def new_results_folder(kind: str) -> Path:
    """Return a new directory for the results of a command."""
    return Path("runs") / f"{kind}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def interruption_note(out: Path) -> Interrupted:
    """Return the error of an interrupted command that can be resumed in its directory."""
    where = shlex.quote(str(out))
    return Interrupted(f"Interrupted; what is done is kept. Resume with the same command and --out {where}")


def _data_printer(console: Console) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that prints the data of each fold, without lines printed before."""
    said: set[str] = set()

    def tell(data: Mapping[str, Any]) -> None:
        lines = [f"data: {data['text']} (licence: {data['licence']})", *(f"  {note}" for note in data["notes"])]
        if data.get("leaky"):
            lines.append(f"  LEAKY: {data['leaky']}")
        for line in lines:
            if line not in said:
                said.add(line)
                console.say(line)

    return tell


def show_kfold(given: GivenOptions, console: Console, out: Path | None, folds: int, keep: float) -> None:
    """Choose among listed settings; show them all, the best first, and what the winner is worth on test."""
    config, axes = split_values(given, Snp)
    assert isinstance(config, Snp)
    out = out or new_results_folder("kfold")
    import_tensorflow(console)
    import numpy as np

    from lstm_ae.backtest.kfold import kfold
    from lstm_ae.run import command_line
    from lstm_ae.search.plan import describe_unaligned_days

    note = describe_unaligned_days(config, axes)
    if note:
        console.say(f"note: {note}")
    progress = console.progress()
    titles: list[str] = []

    def notify(title: str, told_of: Any) -> None:
        if title not in titles:
            titles.append(title)
            console.say(title)
        progress(told_of)

    try:
        found = kfold(
            config, axes, folds, out, keep=keep, command=command_line(), prepared=_data_printer(console), notify=notify
        )
    except KeyboardInterrupt:
        progress.clear()
        raise interruption_note(out) from None
    progress.clear()
    header = ["place", *found.settings[0].values, "first round", "spread", "second round", "spread"]
    rows = []
    for place, setting in enumerate(found.settings, 1):
        told_of = [value for losses in setting.rounds for value in (float(np.mean(losses)), float(np.std(losses)))]
        rows.append((place, *setting.values.values(), *told_of, *[None] * (4 - len(told_of))))
    console.show(f"Mean validation loss over {folds} folds:")
    console.table(header, rows)
    notes = [f"Ranks are not comparable across window sizes: {note}"] if note else []
    notes += found.notes
    for each in notes:
        console.show(each)
    metrics = found.winner.metrics()
    console.show("The winner, trained as usual:")
    show_metrics(console, metrics, found.winner.about()["data"]["leaky"])
    show_files(console, {"winner": found.winner.directory, "folder": out})
    settings = [setting._asdict() for setting in found.settings]
    console.document(
        {
            "settings": settings,
            "data": found.winner.about()["data"],
            "winner": str(found.winner.directory),
            "metrics": metrics,
            "folds": str(out),
            "notes": notes,
        }
    )


def show_backtest(config: Config, console: Console, out: Path | None, folds: int, by: str, *, refit: bool) -> float:
    """Backtest a config; show each fold and what they say together. Returns the skill over persistence in all."""
    assert isinstance(config, Snp)
    out = out or new_results_folder("backtest")
    import_tensorflow(console)
    from lstm_ae.backtest.prices import backtest_prices
    from lstm_ae.evaluation import Evaluation
    from lstm_ae.files import write
    from lstm_ae.plots.base import png
    from lstm_ae.plots.forecasts import skill_by_fold

    progress = console.progress()
    started = []

    def notify(number: int, told_of: Any) -> None:
        if number not in started:
            started.append(number)
            console.say(f"fold {number} of {folds}")
        progress(told_of)

    def finished(fold: Any) -> None:
        progress.clear()
        console.say(f"fold {fold.number}: {fold.first} to {fold.last}: {fold.evaluation['verdict']['test']['text']}")

    try:
        result = backtest_prices(
            config, folds, out, by=by, refit=refit, prepared=_data_printer(console), notify=notify, finished=finished
        )
    except KeyboardInterrupt:
        progress.clear()
        raise interruption_note(out) from None
    rows = []
    for fold in result.folds:
        metrics, verdict = fold.evaluation["test"], fold.evaluation["verdict"]["test"]
        skill, mae = metrics["skill"], metrics["mae"]
        rows.append(
            (
                fold.number,
                fold.first,
                fold.last,
                fold.tested,
                format_skill(skill["value"]),
                format_skill(skill["baselines"]["linear"]),
                f"{verdict['outcome']} {verdict['baseline']}",
                verdict["p"],
                mae["value"],
                mae["baselines"]["persistence"],
                *(
                    f"{metrics[name]['value']:.1%}" if name in metrics else "-"
                    for name in ("coverage_80", "coverage_95")
                ),
            )
        )
    numbers = [fold.number for fold in result.folds]
    skills = [fold.evaluation["test"]["skill"] for fold in result.folds]
    drawn = skill_by_fold(
        numbers,
        [f"{fold.first} to {fold.last}" for fold in result.folds],
        [skill["value"] for skill in skills],
        [skill["baselines"]["linear"] for skill in skills],
    )
    files = {"figure": write(out / "skill_by_fold.png", png(drawn)), "folder": out}
    header = ["fold", "first day", "last day", "companies", "skill", "linear", "verdict", "p"]
    console.table([*header, "mae (USD)", "persistence", "in 80 %", "in 95 %"], rows)
    for note in result.notes:
        console.show(note)
    show_verdicts(console, result.verdicts, "persistence")
    show_files(console, files)
    console.document(
        {
            "folds": [fold._asdict() for fold in result.folds],
            "verdict": Evaluation({}, result.verdicts).as_json()["verdict"],
            "notes": result.notes,
        }
        | {name: str(path) for name, path in files.items()}
    )
    return result.verdicts["persistence"].skill


# Not part of a config: the same model forecasts any number of days.
Horizon = Annotated[
    int | None,
    declare(
        "horizon",
        int,
        "With --multistep: days ahead, past the end of the data (default: the second half of the last window, from "
        "its first half).",
        minimum=1,
        maximum=1000,
    ),
]

Paths = Annotated[
    int | None,
    declare(
        "paths",
        int,
        "With --multistep: number of simulated paths of each company, for paths.csv and the figure.",
        minimum=1,
        maximum=10_000,
    ),
]

KeptShare = Annotated[
    float,
    declare("keep", float, "Share of the settings in the second round.", default=0.5, above=0, maximum=1),
]

SplitBy = Annotated[
    str, typer.Option(metavar="time|company", help="Test on later days (time), or on companies held out (company).")
]


def _parse_baselines(text: str | None) -> tuple[str, ...]:
    """Parse the names of further baselines."""
    from lstm_ae.forecasting.baselines import CLASSICAL_MODELS

    names = tuple(name.strip().lower() for name in (text or "").split(",") if name.strip())
    if text is not None and (not names or not set(names) <= set(CLASSICAL_MODELS) or len(set(names)) < len(names)):
        raise ConfigError(f"--baselines must be ets, theta or both, as in ets,theta. Received: {text[:60]!r}")
    return names


def _require_split_by(text: str) -> None:
    if text not in ("time", "company"):
        raise ConfigError(f"--split-by must be time or company. Received: {text[:40]!r}")


def _dry_run_backtest(
    *,
    folds: int,
    split_by: str,
    no_refit: bool,
    out: Path | None,
    require_skill: float | None,
    given: GivenOptions,
    console: Console,
) -> None:
    _require_split_by(split_by)
    dry_run.show_backtest_estimate(given.config(TASKS["snp"]), console, out, folds, split_by, refit=not no_refit)


def _dry_run_kfold(*, folds: int, keep: float, out: Path | None, given: GivenOptions, console: Console) -> None:
    dry_run.show_kfold_estimate(given, console, out, folds, keep)


def register(app: typer.Typer, small: str) -> None:
    """Add the commands."""

    @command(app, "predict", f"lstmae snp predict --multistep {small}", TASKS["snp"], hide=("goal",))
    def predict(
        *,
        multistep: Annotated[
            bool, typer.Option("--multistep", metavar="", help="Forecast many days, each from the forecasts before it.")
        ] = False,
        horizon: Horizon = None,
        level: Levels = "80,95",
        paths: Paths = None,
        baselines: Annotated[
            str | None,
            typer.Option(
                metavar="<a,b>",
                help="Further baselines, of the extra [baselines]: ets (exponential smoothing), theta, or both.",
            ),
        ] = None,
        require_skill: RequiredSkill = None,
        choice: RunChoice,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Forecast prices and say whether that beats "tomorrow = today"."""
        for name, value in (("horizon", horizon), ("paths", paths)):
            if value is not None and not multistep:
                raise ConfigError(f"--{name} is for --multistep; add it, or leave --{name} out")
        ends, classical = parse_levels(level), _parse_baselines(baselines)
        if multistep and given.get("with_open"):
            raise ConfigError(
                "--with-open is for one day ahead: of later days the open is not known. Leave out --multistep, or "
                "--with-open"
            )
        opened = training.obtain_run_for_data(given, TASKS["snp"], console, choice, goal="predict")
        new = opened.data.train.samples == 0
        if new and classical:
            raise ConfigError("--baselines are fitted on training days, and new data has none. Leave out --baselines")
        if multistep:
            skill = show_many_days(opened, console, ends, horizon=horizon, paths=paths or 0, classical=classical)
        elif new:
            skill = show_new_days(opened, console, ends)
        else:
            skill = show_one_day(opened, console, ends, classical=classical)
        check_skill("The skill over persistence", skill, require_skill)

    @command(app, "audit", "lstmae snp audit latest")
    def audit(
        run: RunArgument,
        *,
        data: Annotated[
            str | None,
            typer.Option(metavar="<file>", help="The file it was trained on, where that has moved (default: as then)."),
        ] = None,
        console: Console,
    ) -> None:
        """Look for what of the future reaches a run's forecasts, and whether they only repeat yesterday."""
        show_audit(run, console, data)

    @command(
        app,
        "backtest",
        f"lstmae snp backtest --folds 2 {small}",
        TASKS["snp"],
        hide=("goal", "split"),
        dry_run=_dry_run_backtest,
    )
    def backtest(
        *,
        folds: Folds = 5,
        split_by: SplitBy = "time",
        no_refit: Annotated[
            bool,
            typer.Option("--no-refit", metavar="", help="Train once, before the first test, instead of before each."),
        ] = False,
        out: Folder = None,
        require_skill: RequiredSkill = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Train up to a day and test on the days after it, several times over."""
        _require_split_by(split_by)
        found = show_backtest(given.config(TASKS["snp"]), console, out, folds, split_by, refit=not no_refit)
        check_skill("The skill over all folds", found, require_skill)

    @command(
        app,
        "kfold",
        f"lstmae snp kfold --units 2,4 --folds 2 {small}",
        TASKS["snp"],
        hide=("goal", "split"),
        lists=True,
        dry_run=_dry_run_kfold,
    )
    def kfold(
        *,
        folds: Folds = 5,
        keep: KeptShare = 0.5,
        out: Folder = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Choose as the report does: folds to drop weak settings, folds again for those left, the winner on test."""
        show_kfold(given, console, out, folds, keep)

    @command(
        app,
        "reconstruct",
        f"lstmae snp reconstruct {small}",
        TASKS["snp"],
        hide=("goal", "last_day_only", "target", "inputs", "with_open"),
    )
    def reconstruct(*, choice: RunChoice, given: GivenOptions, console: Console) -> None:
        """Give back windows of prices."""
        show_predictions(training.obtain_run(given, TASKS["snp"], console, choice, goal="reconstruct"), console)
