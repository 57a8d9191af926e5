"""`lstmae` in processes of its own, to be killed and interrupted."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

# Seconds after which a process that hangs is given up. None takes nearly as long, even on a very busy machine.
CEILING = 600

# `lstmae`, which kills itself in the middle of the write whose number is in KILL_AT_WRITE.
LSTMAE = """
import os, signal, sys
from lstm_ae_cli import main
left, fsync = int(os.environ.get("KILL_AT_WRITE", "0")), os.fsync
def counting(number):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(number)
os.fsync = counting
sys.exit(main())
"""


@contextmanager
def started(line, place, kill_at_write=0, own_group=False):
    """The command, running; killed at the end if it still runs. In a group of its own it can get what Ctrl-C sends."""
    process = subprocess.Popen(
        [sys.executable, "-c", LSTMAE, *shlex.split(line)],
        cwd=place,
        env=os.environ | {"KILL_AT_WRITE": str(kill_at_write)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_group,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def finished(line, place, **more):
    """Run the command to its end; returns its exit code and the lines of stderr."""
    with started(line, place, **more) as process:
        _, err = process.communicate(timeout=CEILING)
    return process.returncode, err.splitlines()


def until(process, text):
    """Read stderr as far as a line that starts so."""
    for line in process.stderr:
        if line.startswith(text):
            return
    raise AssertionError(f"no line starts with {text!r}")


def until_there(path):
    """Wait until a file exists."""
    wait_for(path.exists, f"{path} did not come")


def wait_for(true, problem):
    """Wait until a function returns true; fail with the problem after the ceiling."""
    end = time.monotonic() + CEILING
    while not true():
        assert time.monotonic() < end, problem
        time.sleep(0.001)


async def wait_on_loop(true, problem, work=None):
    """As `wait_for`, while the event loop goes on; awaits what `work` returns between two looks."""
    end = time.monotonic() + CEILING
    while not true():
        assert time.monotonic() < end, problem
        if work is not None:
            await work()
        await asyncio.sleep(0.001)


def children(pid):
    """The processes that a process has started, and theirs."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    direct = [int(word) for word in path.read_text().split()] if path.exists() else []
    return [found for child in direct for found in (child, *children(child))]


def workers(pid):
    """Those of its processes that run trials."""
    return [child for child in children(pid) if b"spawn_main" in command_of(child)]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until_gone(pids):
    """Wait until none of the processes runs any more; kill those that do after the ceiling."""
    try:
        wait_for(lambda: not any(map(runs, pids)), "still running")
    finally:
        for pid in filter(runs, pids):
            os.kill(pid, signal.SIGKILL)


def until_it_imports(process, library):
    """Wait until a process has mapped a library whose name holds this."""
    maps = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: library in maps.read_text() or process.poll() is not None, f"{library} was not loaded")
    assert process.poll() is None
