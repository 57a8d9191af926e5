"""`lstmae series train`, `detect`: train a model on a table, and find anomalies in one."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import Series
from lstm_ae.config.options import flag_name
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.errors import Code, ConfigError

from . import fleets, training
from .console import Console
from .datasets import detect_in_dataset, require_table_file
from .options import (
    OUTPUT,
    RUN,
    EngineOptions,
    Figure,
    Folder,
    GivenOptions,
    LabelColumn,
    OptionalTable,
    Out,
    Resume,
    RunArgument,
    Table,
    command,
    named,
    refuse_options,
    switch,
)
from .results import require_png, require_table, show_events, show_files, show_note, show_training

if TYPE_CHECKING:
    from lstm_ae.apply.detect import Detection
    from lstm_ae.json_types import JsonMapping
    from lstm_ae.run import Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Options of scores and thresholds."""

    threshold: Annotated[
        str | None, named("<rule>", "Threshold rule, such as budget:1/week (default: as trained).")
    ] = None
    adapt: Annotated[int | None, named("<rows>", "Rows of the level that the threshold follows.", min=2)] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Options of a detection in a whole table."""

    events: Annotated[
        Path | None, named("<file>", "Events as a .csv or .parquet file (default: in the run).", OUTPUT)
    ] = None
    scores: Annotated[Path | None, named("<file>", "Scores of all rows as a .csv or .parquet file.", OUTPUT)] = None
    figure: Figure = None
    label_col: LabelColumn = None

    def require_writable(self, data: str) -> None:
        """Raise `ConfigError` if a file cannot be written."""
        for name in ("events", "scores"):
            if (path := getattr(self, name)) is not None:
                require_table(flag_name(name), path, data)
        if self.figure is not None:
            require_png(self.figure)


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "train", "lstmae series train pump.csv --epochs 5", Series, hide=("data",))
    def train(
        data: OptionalTable = None,
        *,
        out: Out = None,
        resume: Resume = False,
        fleet: Annotated[bool, switch("fleet", "Train one model for each series, in --out.", RUN, hidden=True)] = False,
        engine_options: EngineOptions,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Train a model on a table; options you omit are chosen from the data and reported."""
        if fleet:
            refuse_options({"--resume": resume}, "--fleet, which resumes with the same command")
        else:
            refuse_options(engine_options.given, "a single model", ", or add --fleet")
        if resume:
            if data is not None:
                given["data"] = data
            _show_trained(console, training.resume(given, Series, console, out=out))
            return
        config = given.config(Series, **({} if data is None else {"data": data}))
        if config.data is None:
            raise ConfigError(
                "Pass the table to train on: lstmae series train DATA, or --resume to continue a run",
                code=Code.MISSING_OPTION,
            )
        if fleet:
            fleets.train_fleet(config, out, engine_options.choose(), console)
        else:
            _show_trained(console, training.train(config, console, out=out))

    @command(app, "detect", "lstmae series detect latest pump.csv --events events.csv", reads=True)
    def detect(
        run: RunArgument,
        data: Table,
        *,
        scoring: ScoringOptions,
        files: TableOptions,
        engine_options: EngineOptions,
        out: Folder = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Detect anomalies in a table: events with time, p-value, and causes.

        With --out, DATA is a Parquet file, a directory, or a pattern; its series together may be larger than memory.
        RUN may be a fleet (see train --fleet); each series is then scored by its own model, with --engine or --jobs
        in several processes.
        Without --events, --scores, and --figure, the events and a figure are written into the run.
        """
        # Before the search, which may take long.
        files.require_writable(data)
        rule = scoring.threshold
        if rule is not None:
            parse_threshold(rule)
        from lstm_ae.fleets.directory import Fleet

        if Fleet(Path(run)).begun:
            refused = {"--figure": files.figure, "--label-col": files.label_col, "--adapt": scoring.adapt, "--out": out}
            refuse_options(refused, "a fleet", ", or pass one of the fleet's runs")
            engine = engine_options.choose(jobs=1)
            output = {"events": files.events, "scores": files.scores}
            fleets.detect_in_fleet(Path(run), data, engine, console, given, **output, rule=rule)
        elif out is not None:
            refused = {flag_name(name): value for name, value in vars(files).items()} | {"--adapt": scoring.adapt}
            refuse_options(refused, "a data set, whose results are in --out")
            detect_in_dataset(run, data, engine_options, out, console, given, rule=rule)
        else:
            require_table_file(data, engine_options)
            _detect_in_table(training.open_finished_run(run, console), data, scoring, files, given, console)


def _detect_in_table(
    run: "Run", data: str, scoring: ScoringOptions, files: TableOptions, reading: "JsonMapping", console: Console
) -> None:
    """Show the events of a whole table, and write them, the scores, and a figure."""
    from lstm_ae.apply import compare, detection_output
    from lstm_ae.apply.detect import collect_detection_warnings, detect, find_shifts, load_detector
    from lstm_ae.apply.run_table import TableRequest, describe_training_period
    from lstm_ae.detection.shift import describe_shifts
    from lstm_ae.files import write
    from lstm_ae.table_files import write_table

    # A damaged run is reported before a table that may be large is read.
    detector = load_detector(run, reading)
    baselines, rule, adapt = compare.load_baselines(run, detector), scoring.threshold, scoring.adapt
    with console.progress() as bar:
        prepared = detector.read(TableRequest(data, files.label_col, progress=bar.reading))
        detection = detect(detector, prepared, rule, bar.scoring, adapt=adapt)
        # The baselines take much less time than the detector.
        comparison = compare.compare(detector, baselines, detection, rule, adapt=adapt)
    shifts = find_shifts(detector, detection)
    notes = collect_detection_warnings(run, detection, shifts)
    if shifts:
        shifted = detection_output.describe_shifted_series(detection, shifts)
        notes.append(describe_shifts(shifted, detection.normal.shift_limits().length, run.about()["command"]))
    show_note([*notes, *describe_training_period(detection.prepared, run)], console)
    if files.events is None and files.scores is None and files.figure is None:
        # The report of the run shows these files.
        figure = run.directory / "figures" / "detection.png"
        files = dataclasses.replace(files, events=run.directory / "events.csv", figure=figure)
    events = detection_output.event_facts(detection)
    written = {}
    try:
        # Drawing takes longer than the detection in a small table.
        show_events(events, detection_output.describe_detection(detection, comparison), console)
        console.flush()
    finally:
        # A reader of the output may close it early.
        drawing = None if files.figure is None else _draw(detection)
        if files.events is not None:
            written["events"] = write_table(
                files.events, detection_output.event_table(events, several=detection.several)
            )
        if files.scores is not None:
            written["scores"] = write_table(files.scores, detection_output.score_columns(detection))
        if files.figure is not None and drawing is not None:
            written["figure"] = write(files.figure, drawing)
    show_files(console, written)
    console.document(detection_output.detection_to_json(detection, comparison, shifts) | written)


def _show_trained(console: Console, run: "Run") -> None:
    """Show the result of a training and the command to run next."""
    config, metrics = run.config(), run.metrics()
    assert isinstance(config, Series)
    show_training(console, run)
    if not config.tests and config.test is None:
        console.say(f"next: lstmae series evaluate {run.directory} DATA, because there is no test split")
    if config.task == "forecast":
        console.say(f"next: lstmae series forecast {run.directory} DATA --out FILE")
    if config.task == "anomaly":
        threshold = metrics["threshold"]
        # All series share the threshold, so that one with higher scores has more alarms.
        budget = bool(config.id_col) and threshold["rule"].startswith("budget")
        each = " a series, on average" if budget else ""
        console.show(f"threshold: {threshold['value']:.4g}, {threshold['rule']}{each}: {threshold['how']}")
        console.say(f"next: lstmae series detect {run.directory} DATA")
    elif config.task == "classify":
        console.say(f"next: lstmae series classify {run.directory} DATA --out classes.csv")


def _draw(detection: "Detection") -> bytes:
    """Return the figure as a PNG file; Matplotlib takes longer to import than a small table to score."""
    from lstm_ae.apply.figures import detection_figure
    from lstm_ae.plots.base import png

    return png(detection_figure(detection))
