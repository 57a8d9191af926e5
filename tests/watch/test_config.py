"""The file of a watch: strict keys and values, secrets, and the template."""

import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from lstm_ae.config.options import Options, declared_options
from lstm_ae.errors import Code, ConfigError, DataError
from lstm_ae.watch.config import (
    FILES,
    SINK_GROUP,
    SOURCE_GROUP,
    Http,
    MonitorOptions,
    Watch,
    load_kind,
    load_watch,
    parse_watch,
)
from lstm_ae.watch.sinks import JsonLines
from lstm_ae.watch.sources import File

GROUPS = (SOURCE_GROUP, SINK_GROUP)
MONITOR = '[[monitors]]\nname = "pump"\nrun = "pump"\nsource = { kind = "file", path = "a.csv" }\n'
SINK = '[[sinks]]\nname = "file"\nkind = "jsonl"\npath = "a.jsonl"\n'
HOOK = '[[sinks]]\nname = "hook"\nkind = "webhook"\n'


def two(source: str) -> str:
    """Return two monitors of one source."""
    monitors = (MONITOR.replace('"pump"', f'"{name}"', 1) for name in "ab")
    return "".join(monitors).replace('kind = "file", path = "a.csv"', source)


def parse(text: str) -> Any:
    return parse_watch(tomllib.loads(text))


def test_template_reads_a_table_and_lists_every_option() -> None:
    text = (FILES / "watch.toml").read_text()
    config = parse(text)
    (monitor,) = config.monitors
    assert monitor.source == File(path="pump.csv")
    assert config.sinks == {"jsonl": JsonLines(path="alarms.jsonl")}
    assert (config.options, config.http) == (Watch(), Http())
    kinds = [load_kind(group, name, Options) for group in GROUPS for name in entry_points(group=group).names]
    assert len(kinds) >= 10
    for kind in (Watch, Http, MonitorOptions, *kinds):
        for field in declared_options(kind):
            assert f"\n{field.name} =" in text or f"\n# {field.name} =" in text, (kind, field.name)


def test_template_without_comment_marks_is_valid_for_each_kind() -> None:
    """What is commented out can be used."""
    _, *sinks = (FILES / "watch.toml").read_text().split("# [[sinks]]")
    for kind, text in zip(sorted(entry_points(group=SINK_GROUP).names - {"jsonl"}), sinks, strict=True):
        values = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ") and " = " in line]
        parsed = parse(MONITOR + "[[sinks]]\n" + "\n".join(values))
        assert list(parsed.sinks) == [kind]


def test_sinks_of_a_monitor_are_all_sinks_unless_it_names_some() -> None:
    other = SINK.replace('"file"', '"other"')
    assert parse(MONITOR + SINK + other).monitors[0].options.sinks == ("file", "other")
    assert parse(MONITOR + 'sinks = ["other"]\n' + SINK + other).monitors[0].options.sinks == ("other",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"There is no \[\[monitors\]\]"),
        (f"stat = 1\n{MONITOR}", "Unknown key 'stat' in the file. Did you mean 'state'"),
        (f"poll = 0\n{MONITOR}", "poll must be a number at least 0.01 and at most 3600. Received: 0"),
        (f"monitors = 1\n{SINK}", r"monitors must be written as \[\[monitors\]\]"),
        (f"http = 1\n{MONITOR}", r"\[http\] must be a table"),
        (f"{MONITOR}silense = '1h'", r"Unknown key 'silense' in \[\[monitors\]\] 'pump'. Did you mean 'silence'"),
        (f"{MONITOR}silence = '1'", r"\[\[monitors\]\] 'pump': silence must be a whole number with s, min, h, d, or w"),
        (f"{MONITOR}threshold = 'high'", r"'pump': threshold must be quantile:Q"),
        (f"{MONITOR}max_series = 0", "max_series must be a whole number at least 1"),
        (f"{MONITOR}sinks = ['other']\n{SINK}", "sinks contains 'other', which no .* has as its name. Names: file"),
        (f"{MONITOR}reading = {{ window = 5 }}", r"Unknown key 'window' in .*monitors.reading"),
        (f"{MONITOR}reading = {{ decimal = 'dot' }}", "decimal must be one of point, comma. Received: 'dot'"),
        (f"{MONITOR}reading = 'x'", "must be a table"),
        (MONITOR * 2, "Only one of the .* can use the name 'pump'"),
        (MONITOR.replace('"pump"', '"a/b"', 1), "name must consist of letters, digits"),
        (MONITOR.replace('run = "pump"', ""), "run is missing"),
        (MONITOR.replace("source", "# source"), "kind must be one of file, mqtt.* Received: None"),
        (MONITOR.replace('"file"', '"tape"'), "kind must be one of file, mqtt.* Received: 'tape'"),
        (MONITOR.replace("path", "pth"), r"Unknown key 'pth' in .*monitors.source.*. Did you mean 'path'"),
        (MONITOR.replace(', path = "a.csv"', ""), "path is missing"),
        *(
            (MONITOR.replace('"file", path = "a.csv"', source), rf"monitors\.source\]: {problem}")
            for source, problem in (
                ('"sql", url = "sqlite:///a", table = "a", delay = "x"', "delay must be a whole number with s"),
                ('"prometheus", url = "http://h", history = "x"', "history must be a whole number with s"),
                ('"prometheus", url = "http://h", queries = ["a=b", "a =c"]', "queries has two expressions for .* 'a'"),
            )
        ),
        (MONITOR + SINK + SINK, r"\[\[sinks\]\] 'file': another sink has this name"),
        (MONITOR + SINK.replace('name = "file"', ""), r"\[\[sinks\]\] number 1: name must consist"),
        (MONITOR + SINK.replace("jsonl", "csv", 1), "kind must be one of alertmanager, jsonl, mqtt"),
        (MONITOR + SINK.replace("path", "send"), "Unknown key 'send'"),
        (two('kind = "stdin"'), "Only one of the .* can use standard input"),
        (
            two('kind = "mqtt", url = "mqtt://h", topic = "a", client_id = "one"'),
            "Only one of the .* can use the client_id 'one'",
        ),
        (MONITOR + HOOK, "Set either url or url_env"),
        (f'{MONITOR}{HOOK}url = "ftp://host"', "url must be an address that begins with http:// or https://"),
        (f'{MONITOR}{HOOK}url = "https://user:hidden@host"', "url contains a password. Use url_env"),
        (f'{MONITOR}{HOOK}url = "https://host"\nsecret = "hidden"', "Unknown key 'secret'"),
        (f'{MONITOR}{HOOK}url = "https://host"\ntoken = "hidden"', "Unknown key 'token'"),
    ],
)
def test_invalid_file_is_refused_with_place_and_rule(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        parse(text)
    assert "hidden" not in str(error.value)


def test_secrets_are_read_from_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "https://host/path")
    options = parse(MONITOR + HOOK + 'url_env = "HOOK"\ntoken_env = "TOKEN"').sinks["hook"]
    with pytest.raises(ConfigError, match="The environment variable 'TOKEN' of token_env is not set"):
        options.open()
    monkeypatch.setenv("TOKEN", "of another one")
    sink = options.open()
    assert sink.client.url == "https://host/path"
    assert sink.client.headers["Authorization"] == "Bearer of another one"
    assert sink.client.headers["Content-Type"] == "application/json"
    sink.close()
    monkeypatch.setenv("HOOK", "hidden")
    with pytest.raises(ConfigError, match="url must be an address") as error:
        options.open()
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    "text", [None, "state = \n", "poll = " + "9" * 100_000, "stat = 1\n"], ids=["absent", "not TOML", "long", "key"]
)
def test_errors_name_the_file(text: str | None) -> None:
    if text is not None:
        Path("watch.toml").write_text(text)
    with pytest.raises((ConfigError, DataError), match=r"'watch\.toml'") as error:
        load_watch(Path("watch.toml"))
    assert error.value.code is Code.CONFIG_FILE


def test_long_key_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of tomllib grows with the square of the length of a dotted key."""
    Path("watch.toml").write_text(f"{MONITOR}{'.'.join(['a'] * 32_768)} = 1\n")
    monkeypatch.setattr(tomllib, "loads", lambda text: pytest.fail("parsed"))
    with pytest.raises(DataError, match=r"'watch\.toml', line 5 has more than 1,000 bytes"):
        load_watch(Path("watch.toml"))
