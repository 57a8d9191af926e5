"""Journal of a search: one line of JSON per change of a trial, written before anything depends on it.

Only the last line can be incomplete after a kill. It is dropped, because nothing depends on it yet. An oracle that
receives the same calls of `ask` and `tell` in the same order reaches the same state, so no other file is needed.
"""

import json
import os
from pathlib import Path

from lstm_ae.errors import Code, DataError
from lstm_ae.files import parse_json, write
from lstm_ae.search.trial import RUNNING, Trial


class Journal:
    """Journal in a file. The first line of a trial is its proposal; a later one records its end, or that it runs again.

    Args:
        path: the file; `add` creates it if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Trial]:
        """Return the trial of each line, without an incomplete last line.

        Raises:
            DataError: a line is damaged.
        """
        complete, end, _ = self._content().rpartition(b"\n")
        trials, known = list[Trial](), 0
        for number, line in enumerate(complete.split(b"\n") if end else [], 1):
            try:
                trial = Trial.from_dict(parse_json(line.decode()))
                if trial.number not in range(known + 1) or (trial.number == known and trial.status != RUNNING):
                    raise ValueError("a line before it is missing")
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(
                    f"Line {number} of {str(self.path)!r} is damaged or of another version ({error}). Delete it and "
                    "all later lines; their trials run again",
                    code=Code.SEARCH_DAMAGED,
                ) from error
            trials.append(trial)
            known = max(known, trial.number + 1)
        return trials

    def trials(self) -> list[Trial]:
        """Return the last state of each trial."""
        return list({trial.number: trial for trial in self.read()}.values())

    def cut(self) -> None:
        """Remove an incomplete last line.

        Requires the lock of the search, because a running search may still be writing the line.
        """
        complete, end, rest = self._content().rpartition(b"\n")
        if rest:
            write(self.path, complete + end)

    def _content(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""

    def add(self, trial: Trial) -> None:
        """Append a trial and wait until it is on disk."""
        line = json.dumps(trial.to_dict(), ensure_ascii=False, allow_nan=False)
        with self.path.open("ab") as file:
            file.write(line.encode(errors="backslashreplace") + b"\n")
            file.flush()
            os.fsync(file.fileno())
