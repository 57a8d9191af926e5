"""Run `lstmae` in separate processes that can be killed and interrupted."""

import asyncio
import contextlib
import json
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


def imported_by(lines, stdin=None):
    """Run command lines in one new process; return the modules that it imported, and its stdout."""
    program = (
        "import json, sys\n"
        "from lstm_ae_cli import main\n"
        f"codes = [main(words) for words in {list(map(shlex.split, lines))!r}]\n"
        "print(json.dumps([codes, sorted(sys.modules)]), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdin=stdin, capture_output=True, text=True, timeout=CEILING)
    assert done.returncode == 0, done.stderr
    codes, modules = json.loads(done.stderr.splitlines()[-1])
    assert not any(codes), done.stderr
    return set(modules), done.stdout


def run_lstmae(words, kill_at_write=0):
    """Run `lstmae` and return its exit code; kill this process during the write with this number."""
    from lstm_ae_cli import main

    left, fsync = kill_at_write, os.fsync

    def counting(number):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(number)

    os.fsync = counting
    return main(words)


@contextmanager
def started(line, place, kill_at_write=0, own_group=False):
    """Run a command in a new process, and kill it at the end if it is still running.

    Args:
        line: the words after `lstmae`.
        place: its working directory.
        kill_at_write: the number of the write in the middle of which it kills itself; 0 for none.
        own_group: whether it starts a process group, which can get what Ctrl-C sends.
    """
    # The words are not in `sys.argv`, so that two directories of the same command record the same words.
    program = (
        f"import sys; from processes import run_lstmae; sys.exit(run_lstmae({shlex.split(line)}, {kill_at_write}))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_group,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(line, place, **more):
    """Run a command to its end; return its exit code and the lines of stderr."""
    with started(line, place, **more) as process:
        _, err = process.communicate(timeout=CEILING)
    return process.returncode, err.splitlines()


def completed(line, place):
    """Run a command that must succeed."""
    code, lines = finished(line, place)
    assert code == 0, lines


def until(process, text):
    """Read stderr up to a line with this prefix."""
    for line in process.stderr:
        if line.startswith(text):
            return
    raise AssertionError(f"no line starts with {text!r}")


def until_there(path):
    """Wait until a file exists."""
    wait_for(path.exists, f"{path} did not come")


def wait_for(true, problem):
    """Wait until a function returns true; fail with the problem after the time limit."""
    end = time.monotonic() + CEILING
    while not true():
        assert time.monotonic() < end, problem
        time.sleep(0.005)


async def wait_on_loop(true, problem, work=None):
    """Wait like `wait_for` without blocking the event loop; await the result of `work` between two checks."""
    end = time.monotonic() + CEILING
    while not true():
        assert time.monotonic() < end, problem
        if work is not None:
            await work()
        await asyncio.sleep(0.001)


def children(pid):
    """Return all descendants of a process, of any of its threads."""
    direct = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # The thread has ended.
            direct += [int(word) for word in path.read_text().split()]
    return [found for child in direct for found in (child, *children(child))]


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until_gone(pids):
    """Wait until all processes have ended; kill the remaining ones after the time limit."""
    try:
        wait_for(lambda: not any(map(runs, pids)), "still running")
    finally:
        for pid in filter(runs, pids):
            os.kill(pid, signal.SIGKILL)


def until_it_imports(process, library):
    """Wait until a process has mapped a library whose name contains this text."""
    maps = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: library in maps.read_text() or process.poll() is not None, f"{library} was not loaded")
    assert process.poll() is None


def interrupt(line, place, text, number):
    """Interrupt a command and its processes after a line of its progress.

    Returns:
        The printed command that resumes it, and the processes that it had.
    """
    with started(line, place, own_group=True) as process:
        until(process, text)
        left = children(process.pid)
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=CEILING)
    assert (process.returncode, out) == (130, "")
    *before, said = err.splitlines()
    assert not [each for each in before if not each.startswith(text.split()[0])]
    assert said.startswith("lstmae: Interrupted; ")
    return said.split(" Resume with: lstmae ")[1], left
