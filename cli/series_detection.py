"""`lstmae series train`, `detect`: find anomalies in a table, or in rows as they arrive."""

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import Series
from lstm_ae.config.options import flag_name
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count

from . import fleets, training
from .backend import import_tensorflow
from .console import Console
from .datasets import detect_in_dataset
from .options import (
    OUTPUT,
    EngineOptions,
    Figure,
    Folder,
    GivenOptions,
    LabelColumn,
    OptionalTable,
    Out,
    Resume,
    RunArgument,
    command,
    named,
    refuse_options,
    switch,
)
from .results import require_png, require_table, show_events, show_files, show_note, show_training
from .signals import read_until_signal

if TYPE_CHECKING:
    from lstm_ae.apply.detect import Detection
    from lstm_ae.json_types import JsonMapping
    from lstm_ae.run import Run
    from lstm_ae.table_files import TableColumns


STREAM_NAME = "standard input"

# Skipped rows that are reported one by one.
MAX_SKIPPED_MESSAGES = 10

# A network counts as undertrained if its error is more than this many times that of principal components, and less than
# this many times smaller than that of the mean of the window.
UNDERTRAINED_RATIO = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Options of scores and thresholds."""

    threshold: Annotated[
        str | None, typer.Option(metavar="<rule>", help="Threshold rule, such as budget:1/week (default: as trained).")
    ] = None
    online: Annotated[
        bool | None,
        typer.Option("--online/--final", help="Score rows as they arrive, not with later rows (default for -)."),
    ] = None
    adapt: Annotated[
        int | None, typer.Option(metavar="<rows>", min=2, help="Rows of the level that the threshold follows.")
    ] = None
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", metavar="", help="Skip rows of a stream that are unreadable or late.")
    ] = False


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

    def refuse(self, names: tuple[str, ...], what: str, other: str, **more: object) -> None:
        """Refuse options by name, and others by value, which do not apply."""
        given = {name: getattr(self, name) for name in names} | more
        refuse_options({flag_name(name): value for name, value in given.items()}, what, other)


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "train", "lstmae series train pump.csv --epochs 5", Series, hide=("data",))
    def train(
        data: OptionalTable = None,
        *,
        out: Out = None,
        resume: Resume = False,
        fleet: Annotated[bool, switch("fleet", "Train one model for each series, in --out.", hidden=True)] = False,
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
            _train(config, out, console)

    @command(app, "detect", "lstmae series detect latest pump.csv --events events.csv", reads=True)
    def detect(
        run: RunArgument,
        data: Annotated[
            str,
            typer.Argument(help="Table with the columns of the training table; - for standard input."),
        ],
        *,
        scoring: ScoringOptions,
        files: TableOptions,
        engine_options: EngineOptions,
        out: Folder = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Detect anomalies in a table: events with time, p-value, and causes.

        With --engine, DATA is a Parquet file, a directory, or a pattern; its series together may be larger than memory.
        RUN may be a fleet (see train --fleet); each series is then scored by its own model, with --engine or --jobs
        in several processes.
        Without --events, --scores, and --figure, the events and a figure are written into the run.
        """
        # Before the search, which may take long.
        files.require_writable(data)
        rule, online = scoring.threshold, bool(scoring.online)
        if rule is not None:
            parse_threshold(rule)
        from lstm_ae.fleets.directory import Fleet

        single, whole = ("figure", "label_col"), ("events", "scores", "figure", "label_col")
        if Fleet(Path(run)).begun:
            other = ", or pass one of the fleet's runs"
            files.refuse(single, "a fleet", other, skip_bad=scoring.skip_bad, adapt=scoring.adapt, out=out)
            if data == "-":
                raise ConfigError(
                    "A fleet reads no rows from stdin. Pass a file, or one of the fleet's runs",
                    code=Code.OPTION_NOT_APPLICABLE,
                )
            fleets.detect_in_fleet(
                Path(run),
                data,
                engine_options.choose(jobs=1),
                console,
                given,
                events=files.events,
                scores=files.scores,
                rule=rule,
                online=online,
            )
        elif engine_options.requested(data, out):
            what = "a data set, whose results are in --out"
            files.refuse(whole, what, " or --engine", skip_bad=scoring.skip_bad, adapt=scoring.adapt)
            detect_in_dataset(run, data, engine_options, out, console, given, rule=rule, online=online)
        elif data == "-":
            files.refuse(whole, "a stream", ", or pass the path of a table")
            follow_stream(training.open_table_run(run, console), console, scoring, given)
        else:
            files.refuse((), "a whole table", ", or pass - as DATA", skip_bad=scoring.skip_bad)
            _detect_in_table(training.open_table_run(run, console), data, scoring, files, given, console)


def _train(config: Series, out: Path | None, console: Console) -> None:
    """Train a model on a table."""
    if out is not None:
        from lstm_ae.run import Run

        Run(out).require_free()
    import_tensorflow(console)
    complete, loaded = training.complete_config(config, console)
    if config.task == "anomaly" and not config.normal:
        marked = " except those that --label-col marks" * (config.label_col is not None)
        console.say(f"  normal: all rows of the training and validation splits count as normal{marked} (see --normal)")
    _show_trained(console, training.train(complete, console, out=out, data=loaded))


def _detect_in_table(
    run: "Run", data: str, scoring: ScoringOptions, files: TableOptions, reading: "JsonMapping", console: Console
) -> None:
    """Show the events of a whole table, and write them, the scores, and a figure."""
    from lstm_ae.apply import detection_output
    from lstm_ae.apply.detect import collect_detection_warnings, detect_prepared, load_detector
    from lstm_ae.apply.run_table import TableRequest, describe_training_period
    from lstm_ae.detection.shift import describe_shifts
    from lstm_ae.files import write
    from lstm_ae.table_files import write_table

    # A damaged run is reported before a table that may be large is read.
    online = bool(scoring.online)
    detector = load_detector(run, reading, streaming=online)
    with console.progress() as bar:
        prepared = detector.read(TableRequest(data, files.label_col, progress=bar.reading))
        detection = detect_prepared(
            detector, prepared, scoring.threshold, bar.scoring, online=online, adapt=scoring.adapt
        )
    notes = collect_detection_warnings(run, detection)
    if shifts := detection_output.describe_shifted_series(detection):
        length = detection.normal.shift_limits(online=online).length
        notes.append(describe_shifts(shifts, length, run.about()["command"]))
    show_note([*notes, *describe_training_period(detection.prepared, run)], console)
    if files.events is None and files.scores is None and files.figure is None:
        # The report of the run shows both files together.
        figure = run.directory / "figures" / "detection.png"
        files = dataclasses.replace(files, events=run.directory / "events.csv", figure=figure)
    written = {}
    try:
        # Drawing takes longer than the detection in a small table.
        _show_detection(detection, console)
        console.flush()
    finally:
        # A reader of the output may close it early.
        drawing = None if files.figure is None else _draw(detection)
        if files.events is not None:
            written["events"] = write_table(files.events, detection_output.event_columns(detection))
        if files.scores is not None:
            written["scores"] = write_table(files.scores, detection_output.score_columns(detection))
        if files.figure is not None and drawing is not None:
            written["figure"] = write(files.figure, drawing)
    show_files(console, written)
    paths = {name: str(path) for name, path in written.items()}
    console.document(detection_output.detection_to_json(detection) | paths)


def follow_stream(run: "Run", console: Console, scoring: ScoringOptions, reading: "JsonMapping") -> None:
    """Write a line with the online score of every row when it arrives.

    With `--final`, write one line as soon as the score is final, and the rest when the stream ends. The stream ends as
    well with a row that cannot be used; with `--skip-bad` that row is reported and skipped.

    CSV; with `--json` a JSON object a line.
    """
    import numpy as np

    from lstm_ae.apply.detect import load_detector
    from lstm_ae.apply.detection_output import stream_columns
    from lstm_ae.apply.stream import DetectionStream
    from lstm_ae.data.scaling import describe_unknown_series
    from lstm_ae.data.stream import raise_row_error, read_incoming
    from lstm_ae.data.time_zones import infer_zone
    from lstm_ae.detection.shift import describe_shifts

    detector = load_detector(run, reading, streaming=True)
    config, online, adapt, skipped = detector.config, scoring.online is not False, scoring.adapt, 0
    stream = DetectionStream(detector, scoring.threshold, online=online, adapt=adapt)
    console.say(f"anomalies score above {stream.threshold.value:.4g}, by {stream.threshold.rule}")
    final = f"scores are final after {format_count(stream.delay, 'more row')}"
    if adapt is not None:
        final = f"the threshold follows the level of the last {format_count(adapt, 'row')}"
    elif online:
        final = "scores are online scores; --final waits for final ones"
    console.say(f"{final}; Ctrl-C ends the stream")

    def skip(error: DataError) -> None:
        nonlocal skipped
        skipped += 1
        if skipped <= MAX_SKIPPED_MESSAGES:
            console.say(f"skipped: {error}")

    with read_until_signal(lambda size: os.read(0, size)) as read:
        refuse = skip if scoring.skip_bad else raise_row_error
        # Incoming rows have no labels.
        layout, chunks = read_incoming(read, STREAM_NAME, dataclasses.replace(config, label_col=None), refuse)
        zone, problem = infer_zone(layout, config), None
        stream.zone = None if layout.dated else zone
        _print_rows(stream_columns(stream.push(np.empty((0, len(layout.values)))), layout, zone), console, header=True)
        try:
            for chunk in chunks:
                new = [name for name in dict.fromkeys(chunk.ids or ()) if name not in stream.tracks]
                if unknown := describe_unknown_series(detector.scales.names, new):
                    show_note([unknown], console)
                scored = stream.push(chunk.values, chunk.times, chunk.ids, refuse=refuse)
                _print_rows(stream_columns(scored, layout, zone), console)
                if shifted := stream.take_shifted():
                    show_note([describe_shifts(shifted, stream.limits.length, run.about()["command"])], console)
        except DataError as error:
            problem = error
        _print_rows(stream_columns(stream.end(), layout, zone), console)
        if skipped:
            console.say(f"{format_count(skipped, 'row')} skipped")
        if problem:
            raise problem


def _print_rows(columns: "TableColumns", console: Console, *, header: bool = False) -> None:
    """Print rows at once, for readers that wait for them: CSV, or with `--json` an object a line."""
    from lstm_ae.table_files import table

    rows = list(zip(*columns.values(), strict=True))
    if console.json:
        plain = ([None if cell != cell else cell for cell in row] for row in rows)
        text = "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in plain)
    else:
        text = table(list(columns) if header else None, rows).decode()
    if text:
        print(text, end="", flush=True)


def _show_trained(console: Console, run: "Run") -> None:
    """Show the result of a training and the command to run next."""
    config, metrics = run.config(), run.metrics()
    assert isinstance(config, Series)
    show_training(console, run)
    if note := _undertraining_note(config.epochs, metrics):
        console.say(note)
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


def _undertraining_note(epochs: int, metrics: "JsonMapping") -> str:
    """Return a note if principal components are far better than the network, and the window mean almost as good."""
    measured = metrics.get("validation", {}).get("reconstruction_mse")
    # Components that are as many as the numbers of a window have no error, and no verdict.
    if measured is None or "validation" not in metrics.get("verdict", {}):
        return ""
    error, baselines = measured["value"], measured["baselines"]
    (name, linear), constant = next(iter(baselines.items())), baselines["mean of the window"]
    if not (0 < UNDERTRAINED_RATIO * linear < error and constant < UNDERTRAINED_RATIO * error):
        return ""
    stopped = "It stopped early: increase --patience"
    more = f"Increase --epochs (now {epochs}) or reduce --batch-size"
    return (
        f"note: the error of the network is {error / linear:.1f} times that of {name}, so it detects only large "
        f"anomalies. {stopped if metrics['training']['stopped'] else more}"
    )


def _draw(detection: "Detection") -> bytes:
    """Return the figure as a PNG file; Matplotlib takes longer to import than a small table to score."""
    from lstm_ae.apply.figures import detection_figure
    from lstm_ae.plots.base import png

    return png(detection_figure(detection))


def _show_detection(detection: "Detection", console: Console) -> None:
    """Show the events, the threshold, and the expected false alarms, with those of the baseline."""
    from lstm_ae.apply.detection_output import describe_detection, event_rows

    show_events(event_rows(detection), describe_detection(detection), console)
