"""Test errors other than invalid options: unusable output paths, runs, and models, and closed streams."""

import contextlib
import errno
import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lstm_ae_cli import main
from lstm_ae_cli.console import log_to_stderr
from lstm_ae_cli.errors import describe_error, run_guarded
from processes import CEILING
from sampling import sampled
from searches import call, refused

from lstm_ae.errors import LstmAeError

TINY = "--sequences 100 --epochs 1 --units 2"
LSTMAE = [sys.executable, "-c", "import sys; from lstm_ae_cli import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(place):
        assert main(shlex.split(f"toy train {TINY} --out one --quiet")) == 0
    return place / "one"


@pytest.fixture
def one(trained, empty_directory):
    """Return a copy of a finished run that a test may damage."""
    return Path(shutil.copytree(trained, "one"))


UNFINISHED = "The run 'one' is unfinished. Resume with: lstmae toy train --resume --out one"


@pytest.mark.parametrize(
    ("finished", "line", "code", "text"),
    [
        (True, "toy train --out one", 2, "--out 'one' is not empty. Pass a new directory, or resume with --resume"),
        (True, "toy train --out file", 2, "--out 'file' is not a directory"),
        (True, "toy train --out file/below", 2, "--out 'file/below' cannot be created, since "),
        (True, "toy train --resume --out one", 2, "The run 'one' is finished; there is nothing to resume"),
        (True, "toy evaluate --run one --units 9", 2, "--units does not apply to a trained run"),
        (True, "toy evaluate --run one --config c.json", 2, "--config does not apply to a trained run"),
        (True, "export latest", 3, "There is no finished run in 'runs'. Train one or pass its directory"),
        (True, "runs list none", 3, "'none' is not a directory. Pass the one that contains the runs"),
        (False, "toy train --resume --out one --units 9", 2, "--units does not apply to a run that resumes"),
        *((False, line, 3, UNFINISHED) for line in ("toy evaluate --run one", "toy predict --run one", "export one")),
    ],
)
def test_commands_refuse_what_does_not_fit_the_run(one, finished, line, code, text):
    Path("file").touch()
    Path("c.json").write_text('{"task": "toy", "config": {"sequences": 100, "epochs": 1, "units": 9}}')
    if not finished:
        (one / "metrics.json").unlink()
    assert refused(line, code).startswith(text)
    assert sorted(os.listdir()) == ["c.json", "file", "one"]


def test_train_refuses_a_read_only_out_directory(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert "cannot be written. Pass another one" in refused("toy train --out new", 2)


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (OSError(errno.EROFS, "Read-only file system", "x"), "Read-only file system 'x'; choose another path", 1),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "Permission denied 'x'; choose another path", 1),
        (RuntimeError("x; No space left on device"), "No space left on device; free some space, or write elsewhere", 1),
        (MemoryError(), "Not enough memory. Reduce --batch-size, --units, or --window", 1),
        (ZeroDivisionError("by\nzero"), "Unexpected ZeroDivisionError: by (run again with --verbose to see where)", 1),
    ],
)
def test_describe_error_gives_message_and_exit_code(error, text, code):
    said, _, number = describe_error(error)
    assert said.startswith(text)
    assert number == code


@pytest.mark.parametrize("code", [0, 7])
def test_log_handler_is_removed_after_a_command(code, capsys):
    # The next command in the same process may be quiet and may have another stderr.
    def command() -> int:
        log_to_stderr(logging.Formatter("%(message)s"))
        log.info("within")
        if code:
            raise LstmAeError("it stopped")
        return code

    log = logging.getLogger("lstm_ae.test")
    assert (run_guarded(command, [], []) == 0) == (code == 0)
    assert capsys.readouterr().err.splitlines()[0] == "within"
    log.info("after")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "content", "line", "text"),
    [
        *(
            ("metrics.json", content, line, "'one/metrics.json' ")
            for line, content in (
                ("runs show one", "[]"),
                ("runs show one", "{"),
                ("toy predict --run one", '{"test": 3}'),
                ("toy predict --run one", '{"test": {"mse": 1}, "training": {}}'),
            )
        ),
        ("history.csv", "epoch,loss\n1,x\n", "toy plot --run one", "'one/history.csv' is damaged ("),
        ("history.csv", None, "toy plot --run one", "The run 'one' has no history.csv"),
    ],
)
def test_run_with_a_damaged_file_is_refused(one, name, content, line, text):
    (one / name).unlink()
    if content is not None:
        (one / name).write_text(content)
    assert refused(line, 3).startswith(text)


def test_resume_refuses_a_locked_run_and_other_data(one):
    import filelock

    (one / "metrics.json").unlink()
    with filelock.FileLock(one / ".lock"):
        assert "Another process is writing to 'one'" in refused("toy train --resume --out one", 2)
    about = json.loads((one / "config.json").read_text())
    about["data"]["sha256"] = "0" * 64
    (one / "config.json").write_text(json.dumps(about))
    assert refused("toy train --resume --out one", 3).startswith("The data differs from that of 'one' (")


def test_interruption_tells_of_the_checkpoint_and_resume_refuses_other_versions(empty_directory, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lstm_ae_cli.console.TrainingBar.__call__", stop)
        said = call(f"toy train {TINY} --out 'a  b'")
        assert (said.code, Path("a  b/state.npz").exists(), "no checkpoint" in said.last) == (130, True, False)
        assert said.last.endswith(": lstmae toy train --resume --out 'a  b'")
        # The last moment, in which the state is not deleted yet.
        patch.setattr("lstm_ae.run.Run.finished", True)
        said = call(f"toy train {TINY} --out b")
        assert (said.code, said.last) == (130, "Interrupted; the run 'b' is complete")
    with monkeypatch.context() as patch:
        patch.setattr("lstm_ae.training.loop.fit", stop)
        said = call(f"toy train {TINY} --out c")
    assert (said.code, Path("c/state.npz").exists(), "no checkpoint" in said.last) == (130, False, True)
    assert call(said.last.partition(": lstmae ")[2]).code == 0
    monkeypatch.setattr("lstm_ae.run.installed_versions", lambda: {"keras": "4"})
    assert refused("toy train --resume --out 'a  b'", 2).startswith(
        "This training cannot be resumed: its versions had "
    )


REDIRECTIONS = (
    ("| true", 0, ""),
    (">&-", 0, ""),
    ("2>&-", 0, ""),
    ("<&-", 0, ""),
    ("2>&1 | true", 0, ""),
    ("2>/dev/full", 0, ""),
    (">/dev/full", 1, "lstmae: [LAE502] No space left on device; free some space, or write elsewhere\n"),
)


@pytest.mark.parametrize(("redirection", "code", "said"), REDIRECTIONS)
@pytest.mark.parametrize("line", sampled(("runs show one", "snp train --help"), slow=("runs show one",)))
def test_closed_streams_are_ignored_and_a_full_stdout_is_an_error(one, line, redirection, code, said):
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = f"{shlex.join([*LSTMAE, *line.split()])} {redirection}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=CEILING)
    assert done.returncode == code
    assert done.stderr == said


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, marks=pytest.mark.exhaustive),
        pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, marks=pytest.mark.slow),
        pytest.param({"COLUMNS": "30", "NO_COLOR": "1"}, marks=pytest.mark.exhaustive),
    ],
    ids=["empty", "C", "narrow"],
)
def test_commands_run_in_a_minimal_environment(one, environment):
    one.rename("é")
    for line in (["runs", "list", "."], ["runs", "show", "é", "--json"], ["toy", "train", "--help"]):
        done = subprocess.run([*LSTMAE, *line], capture_output=True, env=environment, timeout=CEILING)
        assert (done.returncode, done.stderr) == (0, b"")
        if "--json" in line:
            assert json.loads(done.stdout)["run"] in ("é", "\udcc3\udca9")  # surrogates if the locale is not UTF-8
