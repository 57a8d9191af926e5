"""Test invalid options: one line with the option, the rule, and the value; exit code 2; no files written."""

import json
from pathlib import Path

import pytest
from helps import NAMES
from lstm_ae_cli import main
from lstm_ae_cli.options import GivenOptions, parse_settings
from searches import refused

from lstm_ae.config import TASKS, Toy
from lstm_ae.config.options import declared_options
from lstm_ae.config.space import Axis

OPTIONS = {field.name: field for field in declared_options(Toy)}


@pytest.mark.parametrize(
    ("line", "rule", "received"),
    [
        ("snp train --window 0", "a whole number at least 2 and at most 10000", "0"),
        ("toy train --learning-rate -1", "a number above 0 and at most 10", "-1.0"),
        ("toy train --units 2.5", "a whole number at least 1 and at most 4096", "'2.5'"),
        ("toy train --latent step", "one of steps, vector", "'step'"),
        ("snp train --symbols ,", "a list of names", "('', '')"),
    ],
)
def test_option_value_outside_its_range_is_refused(line, rule, received):
    name = next(word for word in reversed(line.split()) if word.startswith("--"))
    assert refused(line, 2) == f"{name} must be {rule}. Received: {received}"


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--figure out.pdf", "--figure must be a file that ends in .png. Received: 'out.pdf'"),
        ("--threshold pot:2", "--threshold pot: needs a probability above 0 and at most 0.1. Received: 'pot:2'"),
        ("--events e.txt", "--events must end in .csv or .parquet. Received: 'e.txt'"),
    ],
)
def test_detect_checks_its_options_before_it_opens_the_run(option, text):
    assert refused(f"series detect nowhere table.csv {option}", 2) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("toy train --qqq", "No such option: --qqq (see lstmae toy train --help)"),
        ("toy trian", "No such command 'trian'. Did you mean 'train'? (see lstmae toy --help)"),
        ("toy train --units", "Option '--units' requires an argument (see lstmae --help)"),
        ("export", "Missing argument 'run' (see lstmae export --help)"),
        ("snp predict --horizon 5", "--horizon is for --multistep; add it, or leave --horizon out"),
        ("snp predict --latent vector", "--latent is for --goal reconstruct. Received: --goal predict"),
        ("toy train --config none.json", "There is no file 'none.json'"),
        ("toy train --config c.json --preset best", "--preset and --config exclude each other. Pass only one of them"),
        ("series example e.csv --seed x", "Invalid value for '--seed': "),
        ("toy train --resume", "--resume needs --out, the directory to continue in"),
    ],
)
def test_unknown_missing_or_conflicting_options_are_refused(line, text):
    assert refused(line, 2).startswith(text)
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        ('{"task": "toy", "config": {"unitz": 4}}', 2, "'c.json': Unknown key 'unitz' in the config of toy. Did you"),
        ('{"task": "toy", "config": {"units": "4"}}', 2, "'c.json': --units must be a whole number at least 1 and"),
        ('{"task": "toy", "config": {"clip": NaN}}', 3, "'c.json' is not JSON (NaN is not JSON). Pass"),
        ('{"task": "snp", "config": {}}', 2, "'c.json' is a config of snp. Pass a config of toy"),
    ],
)
def test_invalid_json_config_file_is_refused(empty_directory, content, code, text):
    (empty_directory / "c.json").write_text(content)
    assert refused("toy train --config c.json", code).startswith(text)


def test_options_override_the_config_file(empty_directory):
    for task, kind in TASKS.items():
        (empty_directory / "c.json").write_text(json.dumps({"task": task, "config": {"seed": 7, "units": 3}}))
        given = GivenOptions(units=5)
        given.file = empty_directory / "c.json"
        config = given.config(kind)
        assert (config.seed, config.units) == (7, 5)


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("--set dropout", ("--set", "'dropout'")),
        ("--set units=3", ("'units'", "--set", "beta_2")),
        ("--set beta=3", ("'beta'", "beta_2")),
        ("--set beta_2=0.9 --set beta_2=0.8", ("--set beta_2", "twice")),
        ("--set beta_2=1", ("--set beta_2", "below 1", "1.0")),
        ("--set delay_line=yes", ("--set delay_line", "true or false", "'yes'")),
        ("--set decoder_start=code", ("--set decoder_start", "--latent vector", "--latent steps")),
        ("--decoder-start code", ("--decoder-start",)),
    ],
)
def test_invalid_settings_are_refused(line, facts, capsys, empty_directory):
    assert main(["toy", "data", *line.split()]) == 2
    error = capsys.readouterr().err
    assert all(fact in error for fact in facts), error


def test_settings_override_the_config_file():
    given = GivenOptions(parse_settings(["delay_line=false", "epsilon=1e-6"], OPTIONS, lists=False))
    given.preset = "code"
    config = given.config(Toy)
    assert (config.delay_line, config.epsilon, config.beta_2) == (False, 1e-6, 0.995)


def test_settings_of_a_search_take_lists():
    found = parse_settings(["schedule=constant,cosine", "beta_2=0.9"], OPTIONS, lists=True)
    assert found == {"schedule": Axis("schedule", ("constant", "cosine")), "beta_2": 0.9}


def test_only_options_on_the_command_line_override_the_config_file(capsys, empty_directory):
    (empty_directory / "c.json").write_text('{"task": "toy", "config": {"sequences": 100, "deterministic": true}}')
    assert main(["toy", "data", "--config", "c.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"]["train"] == 60
    assert main(["toy", "data", "--config", "c.json", "--json", "--sequences", "50", "--no-deterministic"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"]["train"] == 30


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("lstmae ", NAMES),
        ("lstmae toy tr", ["train"]),
        ("lstmae toy train --latent ", ["steps", "vector"]),
        ("lstmae toy tune --latent ", ["steps", "vector"]),
        ("lstmae snp train --goal r", ["reconstruct"]),
        ("lstmae export ", ["latest"]),
        ("lstmae toy predict --run l", ["latest"]),
    ],
)
def test_bash_completes_commands_options_and_values(capsys, monkeypatch, words, expected):
    monkeypatch.setenv("_LSTMAE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    assert main([]) == 0
    assert capsys.readouterr().out.split() == expected
