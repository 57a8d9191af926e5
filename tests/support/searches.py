"""Run small searches in this process, and inspect their results."""

import contextlib
import csv
import io
import json
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

from lstm_ae_cli import main
from lstm_ae_cli.console import Console
from messages import message_of

from lstm_ae.run import Run
from lstm_ae.search import job as jobs
from lstm_ae.search.directory import open_search
from lstm_ae.search.job import DataLoader, TrialJob, run_job
from lstm_ae.search.trial import COMPLETED, Execution, Objective

SMALL = "--sequences 60 --epochs 2 --batch-size 16 --deterministic --jobs 1"
GRID = f"toy tune --units 2,3 --clip 1,5 {SMALL} --seed 3"


class CommandOutput(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """Return the last line of stderr without the command name and the error code."""
        return message_of(self.err)


def call(line):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(shlex.split(line))
    return CommandOutput(code, out.getvalue(), err.getvalue())


def done(line):
    """Run a command that must succeed; return its output."""
    said = call(line)
    assert said.code == 0, said.err
    return said


def answer(line):
    """Return the JSON document of a command that must succeed."""
    return json.loads(done(f"{line} --json").out)


def rows_of(path):
    """Return the rows of a CSV file by column."""
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def call_unread(line, monkeypatch):
    """Run a command whose output pipe is already closed, as behind `| head`."""

    def unread(console, text):
        raise BrokenPipeError

    with monkeypatch.context() as patched:
        patched.setattr(Console, "show", unread)
        return call(line)


def refused(line, code):
    """Return the error message of a command that must fail and change no file."""
    before = tree(Path.cwd())
    said = call(line)
    assert (said.code, said.out) == (code, "")
    assert said.err.splitlines()[-1].startswith("lstmae: ")
    assert said.err.count("lstmae: ") == 1
    assert "Traceback" not in said.err
    assert tree(Path.cwd()) == before
    return said.last


def tree(place):
    """Return the contents of all files except locks."""
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file() and path.name != ".lock"}


def table_of(place, leave_out="seconds"):
    """Return the lines of a search's table without the column that depends on the machine."""
    rows = list(csv.reader((place / "table.csv").read_text().splitlines()))
    at = rows[0].index(leave_out)
    return [row[:at] + row[at + 1 :] for row in rows]


class FinishedSearch(NamedTuple):
    """Directory and output of a finished search."""

    place: Path
    said: CommandOutput


def cut_after_two(place):
    """Reset a search of four trials to its state after two of them."""
    path = place / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    shutil.rmtree(place / "figures", ignore_errors=True)
    shutil.rmtree(place / "trials")
    (place / "table.csv").unlink()
    # Their training states are gone since the search had ended: they are trained once more.
    folder = open_search(place)
    for trial in folder.journal.trials():
        config = folder.plan().config.with_values(trial.values).to_dict()
        job = TrialJob(trial, config, "toy", str(folder.states(trial.number)), Objective("val_loss"))
        assert run_job(job, DataLoader()).status == COMPLETED


def journal_of(place):
    return [json.loads(line) for line in (place / "journal.jsonl").read_text().splitlines()]


def ended(trial, score, **more):
    """Return the completed trial with a score."""
    return trial._replace(status=COMPLETED, executions=(Execution(0, score, 8, 8, "", 1.0),), **more)


def faked(monkeypatch, scores):
    """Replace trials by ones that end at once with these scores, without models."""
    monkeypatch.setattr(jobs, "run_job", lambda job, load, notify: ended(job.trial, scores(job.config)))
    monkeypatch.setattr("lstm_ae.search.search.complete_best", lambda *_: Run(Path("none")))
