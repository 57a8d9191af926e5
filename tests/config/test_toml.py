"""Configs as TOML: the template loads to the defaults, and errors name the file and the option."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from lstm_ae.config import TASKS, Mnist, Snp, Toy
from lstm_ae.config.options import declared_options
from lstm_ae.config.presets import PRESETS
from lstm_ae.config.toml import LARGEST_TOML, parse_config, parse_toml, render_template
from lstm_ae.errors import ConfigError, DataError
from lstm_ae.run import load_config, read_config

FILE = Path("c.toml")


@pytest.mark.parametrize("task", TASKS)
def test_the_template_loads_to_the_defaults(task: str) -> None:
    text = render_template(task)
    assert parse_config(text, FILE) == TASKS[task]()
    fields = declared_options(TASKS[task])
    assert set(tomllib.loads(text)["config"]) == {field.name for field in fields if field.default is not None}
    lines = text.splitlines()
    comments = " ".join(line.removeprefix("# ") for line in lines)
    for field in fields:
        start = f"# {field.name} =" if field.default is None else f"{field.name} = "
        assert sum(line.startswith(start) for line in lines) == 1 + (field.name == "task"), field.name
        assert " ".join(field.option.help.split()) in comments
        assert field.option.rule(field.kind) in comments
    assert all(name in text for name in PRESETS[task])
    assert max(map(len, lines)) <= 120


def test_toml_dates_parse_without_quotation_marks() -> None:
    assert parse_config('task = "snp"\n[config]\nstart = 2010-01-01', FILE) == Snp(start="2010-01-01")


@pytest.mark.parametrize(
    ("text", "error", "facts"),
    [
        ('task = "toy"\n[config]\nunits = ', DataError, ("not TOML",)),
        ('task = "toy"\n[config]\nunits = 1\nunits = 2', DataError, ("overwrite",)),
        ('task = "toy"\n[config]\nschedule = cosine', DataError, ("line 3", "quotation marks")),
        ('task = "toy"\n[config', DataError, ("not TOML",)),
        ("a = " + "[" * 100_000, DataError, ("not TOML",)),
        ('task = "toy"\n[config]\n# a.b\na' + ".b" * 30_000 + " = 1", DataError, ("line 4", "ten parts")),
        ('task = """a\n"""\na = {"b"' + ' . "b"' * 10 + " = 1}", DataError, ("line 3", "ten parts")),
        ('task = "toy"\n[config]\nunits = ' + "9" * 100_000, DataError, ("line 3", "1,000 characters")),
        ('task = "toy"\n[config]\nunits = 0x' + "f" * 100_000, DataError, ("line 3", "1,000 characters")),
        ('task = "toy"\n[config]\nseed = 1\nuntis = 3', ConfigError, ("'untis'", "'units'")),
        ('task = "toy"\n[config]\n\nunits = "3"', ConfigError, ("--units", "'3'")),
        ('task = "toy"\n[config]\nunits = nan', ConfigError, ("--units",)),
        ('task = "toy"\n[config]\ndecoder_start = "code"', ConfigError, ("--set decoder_start", "--latent vector")),
        ('task = "series"\n[config]\ntask = "find"', ConfigError, ("--task", "anomaly")),
        ('task = "tyo"\n[config]', ConfigError, ("toy, mnist", "'tyo'")),
        ("[config]\nunits = 3", ConfigError, ("no 'task'", 'task = "series"')),
        ('task = "toy"\nunits = 3', ConfigError, ("'units'", "[config]")),
        ('task = "toy"\nconfig = 3', ConfigError, ("'config'", "3")),
    ],
)
def test_an_error_names_the_file_and_the_option(text: str, error: type[Exception], facts: tuple[str, ...]) -> None:
    with pytest.raises(error) as caught:
        parse_config(text, FILE)
    for fact in ("'c.toml'", *facts):
        assert fact in str(caught.value)
    assert "\n" not in str(caught.value)


def test_long_texts_and_keys_of_ten_parts_are_parsed() -> None:
    text = "a.b.c.d.e.f.g.h.i.j.k" * 100
    key = "z" + text[1:19]
    content = parse_toml(f"a = \"{text}\"  # {text}\nb = '''\n\"{text}'''\n[{key}]\n\"{text}\" = 1", FILE)
    assert (content["a"], content["b"]) == (text, f'"{text}')


def test_load_config_rejects_file_larger_than_a_megabyte(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('task = "toy"\n' + "#" * LARGEST_TOML)
    with pytest.raises(DataError, match=r"c\.toml' is larger than 1,048,576 bytes, the limit\. Use a smaller file\.$"):
        load_config(path)


def test_load_config_rejects_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        load_config(path)


@pytest.mark.parametrize(("task", "values"), [("mnist", {"head": 7}), ("toy", {"units": 5})])
def test_config_file_loads_for_its_task_and_no_other(tmp_path: Path, task: str, values: dict[str, Any]) -> None:
    path = tmp_path / "c.toml"
    document = "\n".join([f'task = "{task}"', "[config]", *(f"{name} = {value}" for name, value in values.items())])
    path.write_text("\ufeff" + document, encoding="utf-8")
    assert TASKS[task].from_dict(read_config(path, task)) == TASKS[task](**values)
    with pytest.raises(ConfigError, match=f"config of {task}"):
        read_config(path, "snp")
    assert load_config(path) == TASKS[task](**values)
    assert isinstance(load_config(path), Toy | Mnist)
