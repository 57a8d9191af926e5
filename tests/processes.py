"""`lstmae` in processes of its own, to be killed and interrupted."""

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

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
        _, err = process.communicate(timeout=300)
    return process.returncode, err.splitlines()


def until(process, text):
    """Read stderr as far as a line that starts so."""
    for line in process.stderr:
        if line.startswith(text):
            return
    raise AssertionError(f"no line starts with {text!r}")


def until_there(path, seconds=120):
    for _ in range(seconds * 1000):
        if path.exists():
            return
        time.sleep(0.001)
    raise AssertionError(f"{path} did not come")


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


def until_gone(pids, seconds=120):
    """Wait until none of the processes runs any more."""
    for _ in range(seconds * 100):
        left = {pid: command_of(pid) for pid in pids if runs(pid)}
        if not left:
            return
        time.sleep(0.01)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"still running: {left}")
