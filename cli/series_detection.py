"""`lstmae series train`, `detect`: find anomalies in a table, or in rows as they arrive."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.config import Series
from lstm_ae.config.threshold import parse_threshold
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count
from lstm_ae.parallel import Engine

from . import dry_run, fleets, training
from .backend import import_tensorflow
from .console import Console
from .datasets import detect_in_dataset
from .options import (
    OUTPUT,
    RUN,
    Address,
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
    engine_option,
    refuse_options,
)
from .results import require_png, require_table, show_events, show_files, show_note, show_training
from .signals import read_until_signal

if TYPE_CHECKING:
    from lstm_ae.apply.detect import Detection
    from lstm_ae.apply.stream import StreamedScores
    from lstm_ae.data.time_zones import Zone
    from lstm_ae.json_types import JsonMapping
    from lstm_ae.run import Run


STREAM_NAME = "standard input"

# Rows left out that are said one by one.
MAX_SKIPPED_MESSAGES = 10


class SkippedRows:
    """Print skipped rows of a stream to stderr: each of the first ones, then one at every doubling."""

    def __init__(self, console: Console) -> None:
        self.console, self.count = console, 0

    def __call__(self, error: DataError) -> None:
        """Print a skipped row."""
        self.count += 1
        if self.count <= MAX_SKIPPED_MESSAGES:
            self.console.say(f"skipped: {error}")
        elif self.count & (self.count - 1) == 0:  # a power of two
            self.console.say(f"skipped: {error}; {self.count:,} rows so far")

    def end(self) -> None:
        """Print the number of skipped rows."""
        if self.count:
            self.console.say(f"{format_count(self.count, 'row')} skipped")


def follow_stream(
    run: "Run",
    console: Console,
    threshold: str | None,
    *,
    online: bool,
    adapt: int | None = None,
    reading: "JsonMapping | None" = None,
    skip_bad: bool = False,
) -> None:
    """Write a line for every row when it arrives, and a second one where the final score corrects it.

    If not `online`, write one line as soon as the score is final, and the rest when the stream ends. The stream ends as
    well with a row that cannot be used; with `skip_bad` that row is reported and skipped.

    CSV; with `--json` a JSON object a line.
    """
    from lstm_ae.apply.detect import load_detector
    from lstm_ae.apply.stream import DetectionStream
    from lstm_ae.data.scaling import describe_unknown_series
    from lstm_ae.data.stream import raise_row_error, read_incoming
    from lstm_ae.data.time_zones import infer_zone
    from lstm_ae.detection.shift import describe_shifts
    from lstm_ae.table_files import table

    detector = load_detector(run, reading, streaming=True)
    config = detector.config
    stream = DetectionStream(detector, threshold, online=online, adapt=adapt)
    console.say(f"anomalies score above {stream.threshold.value:.4g}, by {stream.threshold.rule}")
    final = f"scores are final after {format_count(stream.delay, 'more row')}"
    if adapt is not None:
        final = f"the threshold follows the level of the last {format_count(adapt, 'row')}"
    elif online:
        rule = stream.final_threshold
        final = f"{final}, and anomalies then score above {rule.value:.4g}; corrections are printed as second lines"
    console.say(f"{final}; Ctrl-C ends the stream")
    with read_until_signal(lambda size: os.read(0, size)) as read:
        # What a training was told to learn from is not known of rows that come.
        left_out = SkippedRows(console)
        refuse = left_out if skip_bad else raise_row_error
        layout, chunks = read_incoming(read, STREAM_NAME, dataclasses.replace(config, label_col=None), refuse)
        timed, zone = layout.time is not None, infer_zone(layout, config)
        stream.zone = None if layout.dated else zone
        # The columns' own scores stand in the order of their names, whatever the order in which they come.
        names = layout.values if len(layout.values) > 1 else ()
        columns = [*(["series"] if layout.ids else []), "time", "score", "p", "anomaly", "final"]
        columns += [f"error {name}" for name in names]

        def line(cells: Sequence[object]) -> str:
            if console.json:
                return json.dumps(dict(zip(columns, cells, strict=True)))
            return table(None, [cells]).decode().removesuffix("\n")

        if not console.json:
            _print_lines([line(columns)])
        problem = None
        try:
            for chunk in chunks:
                new = [name for name in dict.fromkeys(chunk.ids or ()) if name not in stream.tracks]
                if unknown := describe_unknown_series(detector.scales.names, new):
                    show_note([unknown], console)
                decided = stream.push(chunk.values, chunk.times, chunk.ids, refuse=refuse)
                _print_lines(_format_lines(decided, columns, line, timed=timed, zone=zone))
                if shifted := stream.take_shifted():
                    show_note([describe_shifts(shifted, stream.limits.length, run.about()["command"])], console)
        except DataError as error:
            problem = error
        _print_lines(_format_lines(stream.end(), columns, line, timed=timed, zone=zone))
        left_out.end()
        if problem:
            raise problem


def refuse_table_options(given: Mapping[str, object]) -> None:
    """Refuse options that need a whole table: a stream has no end that they could wait for."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                f"{name} needs a whole table, and - is a stream. Pass the path of a table, or remove {name}",
                code=Code.MISSING_OPTION,
            )


def _format_lines(
    scores: "StreamedScores", columns: list[str], line: Callable[[Sequence[object]], str], *, timed: bool, zone: "Zone"
) -> Iterator[str]:
    from lstm_ae.data.time_zones import format_each_time

    times = format_each_time(scores.times, zone) if timed else scores.times.tolist()
    values: list[Sequence[object]] = [scores.series] if "series" in columns else []
    values += [times, *(column.tolist() for column in (scores.scores, scores.p, scores.anomaly, scores.final))]
    values += [column.tolist() for column in scores.errors.T][: len(columns) - len(values)]
    for row in zip(*values, strict=True):
        yield line([None if cell != cell else cell for cell in row])


def _print_lines(lines: Iterable[str]) -> None:
    """Print lines at once, for readers that wait for them."""
    if text := "".join(f"{line}\n" for line in lines):
        print(text, end="", flush=True)


# A network is hardly trained whose error is so many times that of principal components, and no so many times smaller
# than that of the windows' means.
UNDERTRAINED_RATIO = 3


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(
        app,
        "train",
        "lstmae series train pump.csv --epochs 5",
        Series,
        hide=("data",),
        dry_run=dry_run.show_training_estimate(Series),
    )
    def train(
        data: OptionalTable = None,
        *,
        out: Out = None,
        resume: Resume = False,
        fleet: Annotated[
            bool,
            typer.Option(
                "--fleet",
                metavar="",
                help="Train one model for each series, in --out.",
                rich_help_panel=RUN,
                hidden=True,
            ),
        ] = False,
        jobs: Annotated[
            int | None,
            typer.Option(
                metavar="<int>",
                min=1,
                max=1024,
                help="Models of --fleet trained at once (default: one per core).",
                rich_help_panel=RUN,
                hidden=True,
            ),
        ] = None,
        engine: Annotated[
            str | None, engine_option("Where models of --fleet are trained: local, ray, dask, or spark.")
        ] = None,
        address: Address = None,
        given: GivenOptions,
        console: Console,
    ) -> None:
        """Train a model on a table; options you omit are chosen from the data and reported."""
        if fleet:
            hints = {"--resume": ", which resumes with the same command"}
            refuse_options({"--resume": resume}, "--fleet", hints=hints)
        else:
            single = {"--jobs": jobs, "--engine": engine, "--address": address}
            refuse_options(single, "a single model", ", or add --fleet")
        if resume:
            if data is not None:
                given["data"] = data
            run = training.resume(given, Series, console, out=out)
            _show_trained(console, run)
            return
        config = given.config(Series, **({} if data is None else {"data": data}))
        if config.data is None:
            raise ConfigError(
                "Pass the table to train on: lstmae series train DATA, or --resume to continue a run",
                code=Code.MISSING_OPTION,
            )
        if fleet:
            fleets.train_fleet(config, out, Engine(engine or "local", jobs, address), console)
            return
        if out is not None:
            from lstm_ae.run import Run

            Run(out).require_free()
        import_tensorflow(console)
        complete, loaded = training.complete_config(config, console)
        if config.task == "anomaly" and not config.normal:
            marked = " except those that --label-col marks" * (config.label_col is not None)
            console.say(
                f"  normal: all rows of the training and validation splits count as normal{marked} (see --normal)"
            )
        run = training.train(complete, console, out=out, data=loaded)
        _show_trained(console, run)

    @command(app, "detect", "lstmae series detect latest pump.csv --events events.csv", reads=True)
    def detect(
        run: RunArgument,
        data: Annotated[
            str,
            typer.Argument(help="Table with the columns of the training table; - for standard input."),
        ],
        *,
        threshold: Annotated[
            str | None,
            typer.Option(metavar="<rule>", help="Threshold rule, such as budget:1/week (default: as trained)."),
        ] = None,
        events: Annotated[
            Path | None,
            typer.Option(
                metavar="<file>",
                help="Events as a .csv or .parquet file (default: in the run).",
                rich_help_panel=OUTPUT,
            ),
        ] = None,
        scores: Annotated[
            Path | None,
            typer.Option(
                metavar="<file>", help="Scores of all rows as a .csv or .parquet file.", rich_help_panel=OUTPUT
            ),
        ] = None,
        figure: Figure = None,
        series: Annotated[
            str | None,
            typer.Option(metavar="<name>", help="Series of the figure (default: most events).", rich_help_panel=OUTPUT),
        ] = None,
        label_col: LabelColumn = None,
        online: Annotated[
            bool | None,
            typer.Option(
                "--online/--final",
                help="Score rows as they arrive, not with later rows (default for -).",
            ),
        ] = None,
        adapt: Annotated[
            int | None,
            typer.Option(
                metavar="<rows>", min=2, help="Rows over which the threshold follows slow change (default: never)."
            ),
        ] = None,
        skip_bad: Annotated[
            bool,
            typer.Option(
                "--skip-bad",
                metavar="",
                help="Skip rows of a stream that are unreadable or late.",
            ),
        ] = False,
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
        for name, path in (("--events", events), ("--scores", scores)):
            # Before the search, which may take long.
            if path is not None:
                require_table(name, path, data)
        if figure is not None:
            require_png(figure)
        if threshold is not None:
            parse_threshold(threshold)
        from lstm_ae.fleets.directory import Fleet

        if Fleet(Path(run)).begun:
            single = {
                "--figure": figure,
                "--series": series,
                "--label-col": label_col,
                "--skip-bad": skip_bad,
                "--out": out,
            }
            refuse_options(single, "a fleet", ", or pass one of the fleet's runs")
            if data == "-":
                raise ConfigError(
                    "A fleet reads no rows from stdin. Pass a file, or one of the fleet's runs",
                    code=Code.OPTION_NOT_APPLICABLE,
                )
            fleets.detect_in_fleet(
                fleets.DetectionRequest(run, data, threshold, events, scores, bool(online), adapt),
                engine_options.choose_for_fleet(),
                console,
                given,
            )
            return
        if engine_options.requested(data, out):
            refused = {
                "--events": events,
                "--scores": scores,
                "--figure": figure,
                "--series": series,
                "--label-col": label_col,
                "--skip-bad": skip_bad,
                "--adapt": adapt,
            }
            refuse_options(refused, "a data set, whose results are in --out", " or --engine")
            detect_in_dataset(run, data, engine_options, out, console, given, rule=threshold, online=bool(online))
            return
        if data == "-":
            refuse_table_options(
                {
                    "--events": events,
                    "--scores": scores,
                    "--figure": figure,
                    "--series": series,
                    "--label-col": label_col,
                }
            )
        elif skip_bad:
            raise ConfigError(
                "--skip-bad is for rows on standard input. Pass - as DATA, or remove --skip-bad",
                code=Code.OPTION_NOT_APPLICABLE,
            )
        if series is not None and figure is None and (events is not None or scores is not None):
            raise ConfigError("--series chooses what --figure draws. Add --figure", code=Code.MISSING_OPTION)
        opened = training.open_table_run(run, console)
        if data == "-":
            follow_stream(
                opened,
                console,
                threshold,
                online=online is not False,
                adapt=adapt,
                reading=given,
                skip_bad=skip_bad,
            )
            return
        from lstm_ae.apply import detection_output
        from lstm_ae.apply.detect import collect_detection_warnings, detect_prepared, load_detector
        from lstm_ae.apply.run_table import TableRequest, describe_training_period
        from lstm_ae.detection.shift import describe_shifts
        from lstm_ae.files import write
        from lstm_ae.table_files import write_table

        # A damaged run is reported before a table that may be large is read.
        # Online scores then equal those of a stream bit by bit.
        detector = load_detector(opened, given, streaming=bool(online))
        with console.progress() as bar:
            prepared = detector.read(TableRequest(data, label_col, progress=bar.reading))
            if series is not None:
                from lstm_ae.apply.figures import find_series

                find_series(prepared.table, series)
            detection = detect_prepared(detector, prepared, threshold, bar.scoring, online=bool(online), adapt=adapt)
        notes = collect_detection_warnings(opened, detection)
        if shifts := detection_output.describe_shifted_series(detection):
            length = detection.normal.shift_limits(online=bool(online)).length
            notes.append(describe_shifts(shifts, length, opened.about()["command"]))
        notes += describe_training_period(detection.prepared, opened)
        show_note(notes, console)
        files = {}
        # All or none: the report of the run shows them together.
        in_run = events is None and scores is None and figure is None
        if in_run:
            events, figure = opened.directory / "events.csv", opened.directory / "figures" / "detection.png"
        try:
            # Drawing takes longer than the detection in a small table.
            _show_detection(detection, console)
            console.flush()
        finally:
            # Whoever reads the output may stop early.
            drawing = None if figure is None else _draw(detection, series)
            if events is not None:
                files["events"] = write_table(events, detection_output.event_columns(detection))
            if scores is not None:
                files["scores"] = write_table(scores, detection_output.score_columns(detection))
            if figure is not None and drawing is not None:
                files["figure"] = write(figure, drawing)
        show_files(console, files)
        console.document(
            detection_output.detection_to_json(detection) | {name: str(path) for name, path in files.items()}
        )


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
        # One threshold for all: a series whose scores are high has more of the alarms, a calm one fewer.
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


def _draw(detection: "Detection", series: str | None) -> bytes:
    """Return the figure as a PNG file; Matplotlib takes longer to import than a small table to score."""
    from lstm_ae.apply.figures import detection_figure
    from lstm_ae.plots.base import png

    return png(detection_figure(detection, series))


def _show_detection(detection: "Detection", console: Console) -> None:
    """Show the events, the threshold, and the expected false alarms, with those of the baseline."""
    from lstm_ae.apply.detection_output import describe_detection, event_rows

    show_events(event_rows(detection), describe_detection(detection), console)
