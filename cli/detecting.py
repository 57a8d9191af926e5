"""`lstmae series train`, `detect` and what else is done with a model of anyone's own table."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lstm_ae.config import Series
from lstm_ae.config.rules import parse_threshold
from lstm_ae.errors import ConfigError
from lstm_ae.options import declared

from . import estimating, live, training
from .backend import import_tensorflow
from .options import Formulas, Given, Out, RunArgument, command
from .results import remark, require_png, require_table, show_files, show_training
from .talk import Talk

Table = Annotated[str | None, typer.Argument(metavar="DATA", help="The table: CSV, plain or compressed, or Parquet.")]
# A network is hardly trained whose error is so many times that of principal components, and no so many times smaller
# than that of the windows' means.
FAR_WORSE = 3
_THRESHOLD = next(field for field in declared(Series) if field.name == "threshold")


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(
        app,
        "train",
        "lstmae series train pump.csv --epochs 5",
        Series,
        hide=("data",),
        dry_run=estimating.of_training(Series),
    )
    def train(
        data: Table = None,
        *,
        out: Out = None,
        resume: Annotated[
            bool,
            typer.Option("--resume", metavar="", help="Continue the unfinished run at --out, or the latest one."),
        ] = False,
        given: Given,
        talk: Talk,
    ) -> None:
        """Train a model of a table; every choice that is left open is found and said."""
        if resume:
            if data is not None:
                given["data"] = data
            _show_trained(talk, training.resume(given, Series, talk, out=out))
            return
        if data is None:
            raise ConfigError("Give the table to train on: lstmae series train DATA, or --resume to go on with a run")
        config = given.config(Series, data=data)
        import_tensorflow(talk)
        found, loaded = training.settled(config, talk)
        if config.task == "anomaly" and not config.normal:
            marked = ", but those that --label-col marks" * (config.label_col is not None)
            talk.say(
                f"  normal: all rows of the training and validation parts are taken for normal{marked} (see --normal)"
            )
        _show_trained(talk, training.train(found, talk, out=out, data=loaded))

    @command(app, "detect", "lstmae series detect latest pump.csv --events events.csv", reads=True)
    def detect(
        run: RunArgument,
        data: Annotated[
            str,
            typer.Argument(
                help="The table to search, with the columns of the one trained on; - for rows that come on standard "
                "input, each answered as soon as its score is final."
            ),
        ],
        *,
        threshold: Annotated[
            str | None,
            typer.Option(metavar="<rule>", help=_THRESHOLD.option.help.replace("default: ", "default: as trained; ")),
        ] = None,
        events: Annotated[
            Path | None,
            typer.Option(
                metavar="<file>", help="Where the events go, a .csv or .parquet file (default: events.csv in the run)."
            ),
        ] = None,
        scores: Annotated[
            Path | None, typer.Option(metavar="<file>", help="Write every row's score as a .csv or .parquet file.")
        ] = None,
        figure: Annotated[
            Path | None, typer.Option(metavar="<file>", help="Where the figure goes (default: into the run).")
        ] = None,
        label_col: Annotated[
            str | None, typer.Option(metavar="<name>", help="Column of 0 and 1: judge the scores by it.")
        ] = None,
        skip_bad: Annotated[
            bool,
            typer.Option(
                "--skip-bad",
                metavar="",
                help="Of a stream, go on past rows that cannot be read or come late, and say so; else they end it.",
            ),
        ] = False,
        keep_formulas: Formulas = False,
        given: Given,
        talk: Talk,
    ) -> None:
        """Find the anomalies in a table: events with their time, their p-value and the columns that caused them."""
        from lstm_ae.run import open_run

        for name, path in (("--events", events), ("--scores", scores)):
            # Before the search, which may take long.
            if path is not None:
                require_table(name, path)
        if figure is not None:
            require_png(figure)
        if threshold is not None:
            parse_threshold(threshold)
        if data == "-":
            live.refuse_files({"--events": events, "--scores": scores, "--figure": figure, "--label-col": label_col})
        elif skip_bad:
            raise ConfigError("--skip-bad is for rows that come on standard input; give - as DATA, or leave it out")
        opened = open_run(run, "series")
        opened.metrics()
        import_tensorflow(talk)
        if data == "-":
            live.follow(opened, talk, threshold, reading=given, skip_bad=skip_bad, keep_formulas=keep_formulas)
            return
        from lstm_ae import detected, detection
        from lstm_ae.appraisal import of_known_windows
        from lstm_ae.data.remarks import of_another
        from lstm_ae.figures.base import png
        from lstm_ae.files import write
        from lstm_ae.sketches import sketches_of
        from lstm_ae.table_files import write_table

        bar = talk.progress()
        found = detection.detect(
            opened,
            data,
            rule=threshold,
            label_col=label_col,
            reading=given,
            progress=bar.reading,
            scoring=bar.scoring,
        )
        bar.clear()
        notes = of_another(found.prepared, opened.normal()[1], opened.symbols)
        rests = opened.metrics().get("threshold", {}).get("note") if threshold is None else None
        remark((*notes, *of_known_windows(found.prepared, opened.fingerprints()), *([rests] if rests else [])), talk)
        _show(found, talk)
        files = {}
        if events is not None:
            files["events"] = write_table(events, detected.event_columns(found), keep_formulas=keep_formulas)
        if scores is not None:
            files["scores"] = write_table(scores, detected.score_columns(found), keep_formulas=keep_formulas)
        if figure is not None:
            files["figure"] = write(figure, png(detected.draw(found)))
        try:
            if events is None:
                files["events"] = write_table(
                    opened.directory / "events.csv", detected.event_columns(found), keep_formulas=keep_formulas
                )
            if figure is None:
                files["figure"] = write(opened.directory / "figures" / "detection.png", png(detected.draw(found)))
            opened.write_detection(sketches_of(found))
        except OSError as error:
            if not files:
                raise
            # What was asked for is written; a run that belongs to somebody else stays as it is.
            talk.say(f"not kept in {opened.directory} ({error.strerror or error})")
        show_files(talk, files)
        talk.document(detected.as_json(found) | {name: str(path) for name, path in files.items()})


def _show_trained(talk: Talk, run: Any) -> None:
    """What a training came to, and what comes next."""
    config, metrics = run.config(), run.metrics()
    show_training(talk, run)
    if note := _too_short(config.epochs, metrics):
        talk.say(note)
    if not config.tests:
        talk.say(f"next: lstmae series evaluate {run.directory} DATA, as no row was kept for a test")
    if config.task == "forecast":
        talk.say(f"next: lstmae series forecast {run.directory} DATA --out FILE")
    if config.task == "anomaly":
        threshold = metrics["threshold"]
        remark([threshold["note"]] if "note" in threshold else [], talk)
        # One threshold for all: a series whose scores are high has more of the alarms, a calm one fewer.
        budget = bool(config.id_col) and threshold["rule"].startswith("budget")
        each = " a series, on average" if budget else ""
        talk.show(f"threshold: {threshold['value']:.4g}, {threshold['rule']}{each}: {threshold['how']}")
        talk.say(f"next: lstmae series detect {run.directory} DATA")
    elif config.task == "classify":
        talk.say(f"next: lstmae series classify {run.directory} DATA --out classes.csv")


def _too_short(epochs: int, metrics: dict[str, Any]) -> str:
    """That the network is hardly better than the windows' means, and principal components are far better; else ""."""
    measured = metrics["validation"].get("reconstruction_mse")
    # Components that are as many as the numbers of a window have no error, and no verdict.
    if measured is None or "validation" not in metrics.get("verdict", {}):
        return ""
    error, baselines = measured["value"], measured["baselines"]
    (name, linear), constant = next(iter(baselines.items())), baselines["mean of the window"]
    if not (0 < FAR_WORSE * linear < error and constant < FAR_WORSE * error):
        return ""
    stopped = "It stopped early: give a longer --patience"
    more = f"Give more --epochs (now {epochs}), or a smaller --batch-size"
    return (
        f"note: the network errs {error / linear:.1f} times as much as {name}: it has learned too little to find more "
        f"than gross anomalies. {stopped if metrics['training']['stopped'] else more}"
    )


def _show(found: Any, talk: Talk) -> None:
    """The events, the threshold and what false alarms to expect, and the same of the baseline."""
    from lstm_ae import detected

    rows = detected.event_rows(found)
    if rows:
        names = [name for name in rows[0] if name != "provisional"]
        told = [row | {"end": row["end"] + " (provisional)" * row["provisional"]} for row in rows]
        talk.table(names, [tuple(row[name] for name in names) for row in told])
    else:
        talk.show("No anomaly found.")
    for line in detected.words(found):
        talk.show(line)
