"""`lstmae watch`: score rows as they arrive, and send alarms."""

import logging
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.formatting import format_count

from .console import Console, JsonFormatter, log_to_stderr
from .options import command, switch
from .signals import call_on_signal

if TYPE_CHECKING:
    from lstm_ae.watch.watcher import Watcher


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "watch", "lstmae watch watch.toml --init")
    def watch(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="File with sources, runs, and sinks.")],
        *,
        init: Annotated[
            bool,
            switch("init", "Write an example FILE, alert rules, and a dashboard, and end."),
        ] = False,
        check: Annotated[bool, switch("check", "Check FILE, its runs, sources, and sinks, and end.")] = False,
        console: Console,
    ) -> None:
        """Score rows as they arrive and send alarms."""
        if init and check:
            raise ConfigError(
                "--init and --check exclude each other. Pass only one of them", code=Code.CONFLICTING_OPTIONS
            )
        if init:
            _write_template(file, console)
            return
        from lstm_ae.watch.config import load_watch

        config = load_watch(file)
        log_to_stderr(JsonFormatter(), logging.WARNING if console.quiet else logging.INFO)
        from lstm_ae.watch.watcher import Watcher

        watcher = Watcher(config, stored=not check)
        try:
            if check:
                _show_checks(watcher, console)
            else:
                _follow(watcher, console)
        finally:
            watcher.close()


def _write_template(file: Path, console: Console) -> None:
    from lstm_ae.files import write
    from lstm_ae.watch.config import template_files

    templates = template_files(file)
    try:
        for path in templates:  # write either all of them or none
            if path.exists():
                raise FileExistsError(path)
        for path, text in templates.items():
            write(path, text.encode(), new=True)
    except FileExistsError:
        raise ConfigError(
            f"{str(path)!r} exists and is not overwritten. Pass another path", code=Code.OUTPUT_EXISTS
        ) from None
    _, rules, dashboard = templates
    console.show(f"{file} written. Edit it, then check it with: lstmae watch {file} --check")
    console.say(f"{rules} has alert rules for Prometheus, and {dashboard} a dashboard for Grafana")
    console.document({"file": file, "rules": rules, "dashboard": dashboard})


def _show_checks(watcher: "Watcher", console: Console) -> None:
    checks = list(watcher.check())
    for each in checks:
        console.show(
            f"{'failed' if each.problem else 'ok':6}  {each.name}{f': {each.problem}' if each.problem else ''}"
        )
    console.document({"checks": [{"name": each.name, "problem": each.problem or None} for each in checks]})
    failed = sum(bool(each.problem) for each in checks)
    if failed:
        raise DataError(f"{failed} of {format_count(len(checks), 'check')} failed", code=Code.SERVER_UNAVAILABLE)


def _follow(watcher: "Watcher", console: Console) -> None:
    stop = threading.Event()

    def listening(port: int | None) -> None:
        http = watcher.config.http
        if http is not None:
            console.show(f"metrics  http://{http.host}:{port}/metrics")
        console.document({"host": http and http.host, "port": port})
        sys.stdout.flush()
        console.say(f"{format_count(len(watcher.monitors), 'monitor')} running; Ctrl-C ends")

    with call_on_signal(stop.set):
        watcher.run(stop, listening)
