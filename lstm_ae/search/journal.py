"""The journal of a search: one line of JSON for everything that happened, written before anything follows from it.

A line is whole or it is the last one: what a kill cut off has had no consequence and is dropped. Where an oracle is
asked and told the same things in the same order it is in the same state, so the journal is all that has to be kept.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lstm_ae.files import parse_json, write
from lstm_ae.search.trial import RUNNING, Execution, Trial, trial_of_proposal

# What happened to a trial: an oracle proposed it; it ended; it has to be run again, since what it left is damaged.
ASKED, TOLD, DROPPED = "asked", "told", "dropped"
_NEEDED = {ASKED: {"number", "values"}, TOLD: {"number", "status", "executions", "reason"}, DROPPED: {"number"}}


class JournalEntry(NamedTuple):
    """A readable line."""

    event: str
    content: dict[str, Any]


class Journal:
    """The journal in a file; made where it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[list[JournalEntry], list[int]]:
        """The entries, and the numbers (from 1) of lines that cannot be read.

        A last line that was cut off is neither.
        """
        whole, end, _ = self._content().rpartition(b"\n")
        entries, damaged = [], []
        for number, line in enumerate(whole.split(b"\n") if end else [], 1):
            entry = _entry(line)
            if entry:
                entries.append(entry)
            else:
                damaged.append(number)
        return entries, damaged

    def cut(self) -> None:
        """Take away a last line that was cut off. Only for who goes on with the search: another may be writing it."""
        whole, end, rest = self._content().rpartition(b"\n")
        if rest:
            write(self.path, whole + end)

    def _content(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""

    def add(self, event: str, **content: Any) -> None:
        """Write a line and wait until it is on the disk."""
        line = json.dumps({"event": event, **content}, ensure_ascii=False, allow_nan=False)
        with self.path.open("ab") as file:
            file.write(line.encode(errors="backslashreplace") + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def mend(self) -> None:
        """Take away the lines that cannot be read."""
        entries, _ = self.read()
        lines = [json.dumps({"event": entry.event, **entry.content}, ensure_ascii=False) for entry in entries]
        write(self.path, "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))


def _entry(line: bytes) -> JournalEntry | None:
    """A line's entry; None where it has none."""
    try:
        content = parse_json(line.decode())
    except ValueError:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("number"), int):
        return None
    event = content.pop("event", None)
    known = isinstance(event, str) and set(content) >= _NEEDED.get(event, {"event"})
    return JournalEntry(event, content) if known else None


def executions_in_entry(content: Mapping[str, Any]) -> tuple[Execution, ...]:
    """A trial's trainings, as an entry on its end has them."""
    return tuple(
        Execution(**row | {"score": math.nan if row["score"] is None else row["score"], "curve": tuple(row["curve"])})
        for row in content["executions"]
    )


def ended_trials(entries: Iterable[JournalEntry]) -> list[Trial]:
    """The trials of a journal as they stand there: for who only wants to look, without an oracle."""
    trials: dict[int, Trial] = {}
    for event, content in entries:
        number = content["number"]
        if event == ASKED:
            trials[number] = trial_of_proposal(number, content["values"])._replace(status=RUNNING)
        elif event == DROPPED and number in trials:
            trials[number] = trials[number]._replace(status=RUNNING, executions=(), reason="")
        elif number in trials:
            ended = {key: content[key] for key in ("status", "reason")}
            trials[number] = trials[number]._replace(executions=executions_in_entry(content), **ended)
    return list(trials.values())
