"""Test that passwords in addresses are refused before anything starts, and neither stored, printed, nor exported."""

import json
import shlex
import sys
from pathlib import Path

import pytest
from searches import call, refused, tree

from lstm_ae.addresses import contains_password, hide_user

SECRET = "hunter2"


@pytest.mark.parametrize(
    "line",
    [
        f"predict=http://user:a/{SECRET}@localhost",
        f"predict 'http://user:a {SECRET}@localhost'",
        f"series train postgresql://localhost/db?password={SECRET}",
        f"predict http://user:{SECRET}@localhost:8501 week.csv --out answers.csv",
        f"series train postgresql://user:{SECRET}@localhost/db",
        f"toy tune --engine ray --address ray://user:{SECRET}@localhost:10001",
    ],
)
def test_password_on_the_command_line_is_refused(line: str) -> None:
    assert "contains a password" in refused(line, 2)
    said = call(line)
    assert "[LAE002]" in said.err
    assert SECRET not in said.err


@pytest.mark.parametrize(
    "line",
    [
        f"series train postgresql://{SECRET}@localhost/db",
        f"predict nonsense://{SECRET}@host t.csv --out a.csv",
    ],
)
def test_users_of_addresses_do_not_appear_in_errors(line: str) -> None:
    said = call(f"{line} --verbose")
    assert said.code
    assert SECRET not in said.out + said.err


def test_user_is_stored_printed_and_exported_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "toy train --sequences 60 --epochs 1 --units 2 --out run"
    monkeypatch.setattr(sys, "argv", ["lstmae", *shlex.split(line), "--address", f"http://{SECRET}@localhost"])
    said = [call(line)]
    stored = json.loads(Path("run/config.json").read_text())
    assert "http://***@localhost" in stored["command"]
    said += [call(each) for each in ("runs show run", "export run --out exported", "report run --out report.html")]
    assert [each.code for each in said] == [0] * 4
    assert "http://***@localhost" in said[1].out
    files = tree(Path.cwd())
    assert not any(SECRET.encode() in content for content in files.values())
    assert {"manifest.json", "report.html"} <= {path.name for path in files}
    assert not any(SECRET in each.out + each.err for each in said)


def test_hidden_parts_of_addresses() -> None:
    assert hide_user("in 'grpc://a:b@c@host:1', x=s3://host/a?b=c") == "in 'grpc://***@host:1', x=s3://host/a?b=c"
    assert (
        hide_user("postgresql://h/d?passwd=x&a=1 postgresql:/u@h")
        == "postgresql://h/d?passwd=***&a=1 postgresql:/***@h"
    )
    assert not any(map(contains_password, ["u:p@h", "http://host:80/path", "sqlite:///C:/runs.db", "mqtt://user@h:1"]))
