"""Run `lstmae` in separate processes that can be killed and interrupted."""

import asyncio
import contextlib
import json
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["preloaded"])

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


@contextmanager
def started(line, place, own_group=False):
    """Run a command in a new process, and kill it at the end if it is still running.

    Args:
        line: the words after `lstmae`.
        place: its working directory.
        own_group: whether it starts a process group, which can get what Ctrl-C sends.
    """
    program = "import sys; from lstm_ae_cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", program, *shlex.split(line)],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_group,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def forked(target, *arguments):
    """Run a function in a new process that has imported TensorFlow; return its exit code."""
    with mock.patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parent)):
        forkserver.ensure_running()
    process = FORKS.Process(target=target, args=arguments)
    process.start()
    process.join(CEILING)
    code = process.exitcode  # None if the process hangs; the kill below must not replace it
    process.kill()
    return code


def _run_lstmae(line, place, kill_at_write, log):
    """Run `lstmae` in this process; kill it in the middle of the write with this number."""
    from lstm_ae_cli import main

    left, fsync = kill_at_write, os.fsync

    def counting(number):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(number)

    os.fsync = counting
    with open(log, "w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    os.chdir(place)
    # Runs record the command line.
    sys.argv[1:] = shlex.split(line)
    sys.exit(main())


def finished(line, place, kill_at_write=0):
    """Run a command to its end in a process that has imported TensorFlow; return its exit code and what it wrote.

    Args:
        line: the words after `lstmae`.
        place: its working directory.
        kill_at_write: the number of the write in the middle of which it kills itself; 0 for none.
    """
    with tempfile.NamedTemporaryFile("r") as log:
        code = forked(_run_lstmae, line, place, kill_at_write, log.name)
        return code, log.read().splitlines()


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
