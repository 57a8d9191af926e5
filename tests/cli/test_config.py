"""Test `lstmae config`: templates, the options of runs and config files, and `--config`."""

import contextlib
import io
import json
import os
from pathlib import Path

import pytest
from lstm_ae_cli import main
from processes import imported_by
from searches import call, refused

from lstm_ae.config import TASKS, Series, Toy
from lstm_ae.config.options import REMOVED, declared_options
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
    listed = json.loads(call(f"config init {task} --json").out)
    assert {option["name"] for option in listed["options"]} == {field.name for field in declared_options(TASKS[task])}


def test_config_show_output_is_a_config_file():
    Path("a.toml").write_text('task = "toy"\n[config]\nunits = 3\nsequences = 100')
    shown = call("config show a.toml")
    assert "units = 3  # default: 16" in shown.out
    Path("b.toml").write_text(shown.out)
    document = call("config show b.toml --json").out
    Path("c.json").write_text(document)
    assert load_config(Path("b.toml")) == load_config(Path("c.json")) == Toy(units=3, sequences=100)
    samples = json.loads(call("toy data --config b.toml --seed 4 --json").out)["samples"]
    assert sum(samples.values()) == 100
    Path("D.TOML").write_text(shown.out)
    assert call("config show D.TOML").out == shown.out


@pytest.mark.parametrize("line", ["config init series", "config show a.toml"])
def test_config_output_is_valid_toml_in_any_encoding_of_stdout(line):
    Path("a.toml").write_text('task = "series"\n[config]\nmissing = ["°C", "Ω", "\U00010437"]', encoding="utf-8")
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw, "cp1252", errors="backslashreplace")) as stdout:
        assert main(line.split()) == 0
        stdout.flush()
        Path("b.toml").write_bytes(raw.getvalue())
    assert load_config(Path("b.toml")) == (load_config(Path("a.toml")) if "show" in line else Series())


def test_config_show_lists_the_options_of_a_run():
    trained = Path(__file__).parents[2] / "saved_models/toy"
    config = json.loads(call(f"config show {trained} --json").out)["config"]
    stored = json.loads((trained / "config.json").read_text())["config"]
    stored = {name: value for name, value in stored.items() if name not in REMOVED}
    assert stored.items() <= config.items()  # an older version did not store options that did not apply
    assert config.keys() == Toy().to_dict().keys()


@pytest.mark.parametrize(
    ("line", "code", "facts"),
    [
        ("config init tyo", 2, ("toy, mnist, snp, series", "'tyo'")),
        ("config init toy --out a.json", 2, ("'a.json'", ".toml")),
        ("config show bad.toml", 2, ("'bad.toml', line 3", "'untis'", "'units'")),
        ("toy train --config bad.toml", 2, ("'bad.toml', line 3", "'untis'", "'units'")),
        ("config show broken.toml", 3, ("'broken.toml', line 1", "TOML")),
        ("config show none.toml", 2, ("no file 'none.toml'",)),
        ("config show none", 3, ("no run at 'none'",)),
        *(
            (line, 2, (f"'{name}' is not a config file", ".toml", "config.json", "config init"))
            for name in ("rows.csv", "pipe", "pipe.toml")
            for line in (f"config show {name}", f"toy train --config {name}")
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
    Path("a.toml").write_text('task = "toy"')
    modules, _ = imported_by(["config init series", "config show a.toml"])
    assert not modules & {"tensorflow", "keras"}
