"""Journal of a search: a write-ahead log with one line of JSON per event.

Only the last line can be incomplete after a kill. It is dropped, because nothing depends on it yet. An oracle that
receives the same calls of `ask` and `tell` in the same order reaches the same state, so no other file is needed.
"""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lstm_ae.files import parse_json, write
from lstm_ae.json_types import JsonMapping, JsonObject
from lstm_ae.search.trial import RUNNING, Execution, Trial, trial_of_proposal

# Events of a trial: the oracle proposed it; it ended; its results were dropped and it has to run again.
ASKED, TOLD, DROPPED = "asked", "told", "dropped"
_REQUIRED_KEYS = {ASKED: {"number", "values"}, TOLD: {"number", "status", "executions", "reason"}, DROPPED: {"number"}}


class JournalEntry(NamedTuple):
    """Entry of a journal.

    Args:
        event: asked, told, or dropped.
        content: the other fields of the line.
    """

    event: str
    content: JsonObject


class Journal:
    """Journal in a file.

    Args:
        path: the file; `add` creates it if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[list[JournalEntry], list[int]]:
        """Read the journal.

        Returns:
            The entries, and the line numbers (from 1) that cannot be read. An incomplete last line is in neither.
        """
        complete, end, _ = self._content().rpartition(b"\n")
        entries, damaged = [], []
        for number, line in enumerate(complete.split(b"\n") if end else [], 1):
            entry = _entry(line)
            if entry:
                entries.append(entry)
            else:
                damaged.append(number)
        return entries, damaged

    def cut(self) -> None:
        """Remove an incomplete last line.

        Requires the lock of the search, because a running search may still be writing the line.
        """
        complete, end, rest = self._content().rpartition(b"\n")
        if rest:
            write(self.path, complete + end)

    def _content(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""

    def add(self, event: str, **content: object) -> None:
        """Append an entry and wait until it is on disk."""
        line = json.dumps({"event": event, **content}, ensure_ascii=False, allow_nan=False)
        with self.path.open("ab") as file:
            file.write(line.encode(errors="backslashreplace") + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def mend(self) -> None:
        """Remove the lines that cannot be read."""
        entries, _ = self.read()
        lines = [json.dumps({"event": entry.event, **entry.content}, ensure_ascii=False) for entry in entries]
        write(self.path, "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))


def _entry(line: bytes) -> JournalEntry | None:
    """Return the entry of a line; None if it cannot be read."""
    try:
        content = parse_json(line.decode())
    except ValueError:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("number"), int):
        return None
    event = content.pop("event", None)
    known = isinstance(event, str) and set(content) >= _REQUIRED_KEYS.get(event, {"event"})
    return JournalEntry(event, content) if known else None


def executions_in_entry(content: JsonMapping) -> tuple[Execution, ...]:
    """Return the executions in the content of a "told" entry."""
    return tuple(
        Execution(**row | {"score": math.nan if row["score"] is None else row["score"], "curve": tuple(row["curve"])})
        for row in content["executions"]
    )


def ended_trials(entries: Iterable[JournalEntry]) -> list[Trial]:
    """Return the trials of a journal and their status, without creating an oracle."""
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
