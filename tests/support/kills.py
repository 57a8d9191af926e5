"""Commands that are killed and resumed, one for each kind of directory, and what they must not change."""

import re
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from fleet_makers import OPTIONS, write_series
from partitioned import RUN, write_dataset
from processes import completed, finished

# What differs between two commands that do the same.
VOLATILE = re.compile(rb'"(created|seconds|path|text|data)": ("[^"]*"|[0-9.e+-]+)')


class Command(NamedTuple):
    """Command that writes a directory.

    Args:
        line: its words without `--out`.
        kills: numbers of the writes during which it is killed, counted from the start of each process.
        resume: words that resume it; "" for the same ones.
    """

    line: str
    kills: tuple[int, ...]
    resume: str = ""


RESUME = "toy tune --resume --jobs 1"
TOY = "--deterministic --sequences 300 --units"
COMMANDS = {
    "run": Command(f"toy train {TOY} 4 --epochs 3", (1, 3, 4, 6), "toy train --resume"),
    "search": Command(f"toy tune {TOY} 2,4 --epochs 2 --repeats 2 --jobs 1", (1, 3, 4, 6), RESUME),
    "fleet": Command(f"series train table.csv --fleet {OPTIONS} --jobs 1", (1, 6, 8, 8)),
    "backtest": Command("series backtest waves.csv --horizon 2 --window 8 --units 2 --epochs 2 --folds 2", (1, 3, 4)),
    "dataset": Command(f"series detect {RUN} data --id-col machine --jobs 1", (1, 2, 3)),
}


def write_inputs(place: Path) -> None:
    """Write the tables that the commands read."""
    write_series(place / "table.csv")
    write_dataset(place / "data", "abc")
    waves = 20 + np.sin(np.arange(400) / 4) + np.random.default_rng(0).normal(0, 0.1, 400)
    pd.DataFrame({"x": waves}).to_csv(place / "waves.csv", index=False)


def contents(directory: Path) -> dict[str, object]:
    """Return what the files of a directory contain, by path; those of a data set, whose names vary, by folder."""
    found: dict[str, object] = {}
    tables: dict[str, list[str]] = {}
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        # A killed process may leave a hidden directory with a part of a run.
        hidden = any(part.startswith(".") for part in Path(name).parts[:-1])
        if not path.is_file() or hidden or path.name in (".lock", "journal.jsonl"):
            continue
        if path.suffix == ".parquet":
            tables.setdefault(str(path.parent.name), []).append(pd.read_parquet(path).to_csv())
        elif path.suffix == ".csv":
            found[name] = pd.read_csv(path).drop(columns="seconds", errors="ignore").to_csv()
        else:
            content = path.read_bytes()
            found[name] = VOLATILE.sub(b"", content) if path.suffix == ".json" else content
    return found | {name: sorted(parts) for name, parts in tables.items()}


def complete(command: Command, place: Path) -> dict[str, object]:
    """Return what a command writes that nothing interrupts."""
    write_inputs(place)
    completed(f"{command.line} --out out", place)
    return contents(place / "out")


def complete_after_kills(command: Command, place: Path) -> dict[str, object]:
    """Return what a command writes that is killed during several writes, and resumed each time."""
    write_inputs(place)
    line = command.line
    for write in command.kills:
        code, lines = finished(f"{line} --out out", place, kill_at_write=write)
        assert code == -signal.SIGKILL, lines
        # A command that was killed before it identified its directory has not begun.
        if command.resume and any(place.glob("out/*.json")):
            line = command.resume
    completed(f"{line} --out out", place)
    return contents(place / "out")
