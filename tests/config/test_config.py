"""Config defaults, option rules with their messages, and the JSON round trip."""

import dataclasses
import json
import math
from typing import Any

import pytest

from lstm_ae.config import TASKS, Config, Mnist, Series, Snp, Toy, task_of
from lstm_ae.config.options import GROUPS, RARE, declared_options, flag_name
from lstm_ae.config.presets import load_preset
from lstm_ae.errors import ConfigError
from lstm_ae.files import as_json, parse_json


def refused(kind: type[Config], **choices: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        kind(**choices)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("choices", "fields"),
    [
        ({"field": "low"}, ("low",)),
        ({"inputs": "ohlc"}, ("high", "open", "low", "close")),
        ({"inputs": "ohlc", "field": "open"}, ("open", "high", "low", "close")),
        ({"inputs": "ohlcv", "field": "close"}, ("close", "open", "high", "low", "volume")),
    ],
)
def test_snp_fields_start_with_target_then_open(choices: dict[str, Any], fields: tuple[str, ...]) -> None:
    """The modeled price is the first field; the open, if it is an input, is the second."""
    assert Snp(**choices).fields == fields


@pytest.mark.parametrize(
    ("choices", "scaling"),
    [
        ({}, "log"),
        ({"target": "level"}, "company"),
        ({"goal": "reconstruct"}, "company"),
        ({"goal": "reconstruct", "scale": "log"}, "log"),
        ({"scale": "company"}, "company"),
    ],
)
def test_snp_default_scaling_depends_on_goal_and_target(choices: dict[str, Any], scaling: str) -> None:
    assert Snp(**choices).scaling == scaling


@pytest.mark.parametrize(
    ("kind", "name", "values", "facts"),
    [
        (Snp, "window", (0, -1, 1, 1_000_000_000), ("2", "10000")),
        (Snp, "symbols", (("A", ""), "AAPL"), ("names",)),
        (Snp, "data", (5,), ("text",)),
        (Snp, "schedule", ("x" * 1000,), ("constant, cosine", "'xxxx")),
        (Toy, "batch_size", (0,), ("1", "65536")),
        (Toy, "epochs", (0, -1), ("1", "100000")),
        (Toy, "learning_rate", (0, -1, math.nan, math.inf, 1e9, 10**350), ("above 0", "10")),
        (Toy, "units", (0, 1_000_000_000, 10**350, True, 4.0, "4", None), ("1", "4096")),
        (Toy, "seed", (-1, 2**40), ("0", "4294967295")),
        (Toy, "dropout", (1, True), ("0", "below 1")),
        (Toy, "clip", (-1.0,), ("0", "1000000")),
        (Toy, "patience", (-1,), ("0",)),
        (Toy, "layers", (9,), ("1", "8")),
        (Toy, "sequences", (9,), ("10", "10000000")),
        (Toy, "deterministic", (1,), ("true or false",)),
        (Toy, "optimizer", ("Adam ",), ("adam, adamw, nadam, rmsprop, sgd",)),
        (Toy, "latent", ("stepz",), ("steps, vector",)),
        (Mnist, "model", ("v5",), ("two-autoencoders-mlp, head-on-code",)),
        (Mnist, "reconstruction_weight", (2,), ("0", "1")),
    ],
)
def test_options_refuse_values_and_name_their_bounds(
    kind: type[Config], name: str, values: tuple[Any, ...], facts: tuple[str, ...]
) -> None:
    for value in values:
        rule, _, received = refused(kind, **{name: value}).partition(" Received: ")
        assert rule.startswith(flag_name(name))
        assert all(fact in rule + received for fact in facts)
        assert repr(value)[:4] in received
        assert len(rule + received) < 400


@pytest.mark.parametrize(
    ("kind", "base", "chosen", "given_up"),
    [
        (Mnist, load_preset("mnist", "pixels"), {"model": "two-autoencoders-mlp"}, {"pool", "every"}),
        (Mnist, load_preset("mnist", "pixels"), {"latent": "vector"}, {"pool", "every"}),
        (Mnist, load_preset("mnist", "best"), {"model": "two-autoencoders"}, {"head"}),
        (Toy, load_preset("toy", "best"), {"optimizer": "sgd"}, {"beta_2", "epsilon"}),
        # Resetting an option also resets the options that depend on it.
        (Toy, load_preset("toy", "code"), {"latent": "steps"}, {"decoder_start", "delay_line", "code"}),
        (Toy, load_preset("toy", "code"), {"bidirectional": True}, {"delay_line"}),
        (Toy, {}, {"units": 3}, set()),
        (Toy, load_preset("toy", "code"), {"units": 8}, set()),
        (Snp, load_preset("snp", "best"), {"goal": "reconstruct"}, {"inputs", "last_day_only", "link"}),
    ],
)
def test_merge_resets_base_options_that_conflict_with_chosen(
    kind: type[Config], base: dict[str, Any], chosen: dict[str, Any], given_up: set[str]
) -> None:
    usual = kind.from_dict(base).to_dict() | kind.from_dict(chosen).to_dict()
    found = kind.merge(base, chosen).to_dict()
    for name, value in kind.from_dict(base).to_dict().items():
        expected = getattr(kind(), name) if name in given_up else usual[name] if name in chosen else value
        assert found[name] == expected, name


def test_merge_rejects_conflicts_between_chosen_options() -> None:
    with pytest.raises(ConfigError, match="--set pool is for --model head-on-code"):
        Mnist.merge(load_preset("mnist", "pixels"), {"model": "two-autoencoders-mlp", "pool": "mean"})


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"inputs": "ohlc", "scale": "company"}, ("--inputs ohlc", "--scale log", "--target change")),
        ({"inputs": "ohlc", "goal": "reconstruct"}, ("--inputs", "--goal predict")),
        ({"bidirectional": True}, ("--set bidirectional", "--goal reconstruct", "--goal predict")),
        ({"latent": "vector"}, ("--latent", "--goal reconstruct", "--goal predict")),
        ({"goal": "reconstruct", "last_day_only": True}, ("--last-day-only", "--goal predict")),
        ({"goal": "reconstruct", "target": "level"}, ("--target", "--goal predict")),
        ({"goal": "reconstruct", "link": "none"}, ("--link", "--goal predict")),
    ],
)
def test_snp_refuses_options_that_exclude_each_other(choices: dict[str, Any], told: tuple[str, ...]) -> None:
    message = refused(Snp, **choices)
    assert all(option in message for option in told)


@pytest.mark.parametrize(
    "config",
    [
        Toy(),
        Mnist(model="head-on-reconstruction", data="digits.npz", learning_rate=1),
        Snp(symbols=("AAPL", "IBM"), seed=2**32 - 1, clip=0, start="2010-01-01"),
        Snp(),
    ],
)
def test_config_survives_json_round_trip(config: Config) -> None:
    content = json.loads(as_json(config.to_dict()))
    assert list(content) == [field.name for field in dataclasses.fields(config)]
    again = type(config).from_dict(content)
    assert again == config
    assert hash(again) == hash(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"units": 4, "units": 8}', "the key 'units' occurs twice"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' occurs twice"),
        ('{"clip": NaN}', "NaN is not JSON"),
        ('{"clip": -Infinity}', "-Infinity is not JSON"),
        ("[" * 200_000 + "]" * 200_000, "it is nested too deeply"),
        ('{"units": 4', "Expecting"),
        ('{"units": ' + "1" * 5000 + "}", "4300 digits"),
    ],
)
def test_parse_json_rejects_invalid_json_and_duplicate_keys(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_as_json_rejects_nan_values() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json({"loss": math.nan})


@pytest.mark.parametrize("kind", TASKS.values())
def test_every_option_has_help_group_rule_and_default(kind: type[Config]) -> None:
    for field in declared_options(kind):
        assert field.option.help.endswith("."), field.name
        assert field.option.group in GROUPS, field.name
        assert not field.option.details or field.option.details.endswith("."), field.name
        assert field.option.rule(field.kind), field.name
        assert kind(**{field.name: field.default}) == kind()


def test_configs_have_a_task_and_are_frozen_and_keyword_only() -> None:
    assert [task_of(kind()) for kind in (Toy, Mnist, Snp)] == ["toy", "mnist", "snp"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Toy().units = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        Toy(8)  # type: ignore[misc]


def test_tables_have_at_most_45_flags():
    flags = [field.name for field in declared_options(Series) if field.name not in RARE]
    assert len(flags) <= 45
