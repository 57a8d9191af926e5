"""Test `lstmae config`: templates, the options of runs and config files, and `--config`."""

import json
import os
from pathlib import Path

import pytest
from processes import imported_by
from searches import call, refused

from lstm_ae.config import TASKS
from lstm_ae.run import load_config


@pytest.mark.parametrize("task", TASKS)
def test_config_init_writes_a_template_with_the_defaults(task):
    printed = call(f"config init {task}")
    written = call(f"config init {task} --out {task}.toml")
    assert (printed.code, written.code) == (0, 0)
    assert Path(f"{task}.toml").read_text() == printed.out
    assert f"--config {task}.toml" in written.err
    assert load_config(Path(f"{task}.toml")) == TASKS[task]()
    assert f"'{task}.toml'" in refused(f"config init {task} --out {task}.toml", 2)
    assert json.loads(call(f"config init {task} --json").out)["template"] == printed.out


@pytest.mark.parametrize(
    ("line", "code", "facts"),
    [
        ("config init tyo", 2, ("toy, mnist, snp, series", "'tyo'")),
        ("config init toy --out a.json", 2, ("'a.json'", ".toml")),
        ("toy train --config bad.toml", 2, ("'bad.toml'", "'untis'", "'units'")),
        ("toy train --config broken.toml", 3, ("'broken.toml'", "line 1", "TOML")),
        ("toy train --config none.toml", 2, ("no file 'none.toml'",)),
        *(
            (f"toy train --config {name}", 2, (f"'{name}' is not a config file", ".toml", "config.json", "config init"))
            for name in ("rows.csv", "pipe", "pipe.toml")
        ),
    ],
)
def test_unusable_config_file_is_refused(line, code, facts):
    Path("bad.toml").write_text('task = "toy"\n[config]\nuntis = 3')
    Path("broken.toml").write_text("task = toy")
    Path("rows.csv").write_text("time,flow\n1,2\n")
    for name in ("pipe", "pipe.toml"):
        os.mkfifo(name)
    text = refused(line, code)
    assert all(fact in text for fact in facts)


def test_config_commands_do_not_import_tensorflow():
    modules, _ = imported_by(["config init series"])
    assert not modules & {"tensorflow", "keras"}
