"""Search spaces: parsing of axes, JSON round trips, and queries to KerasTuner."""

import json
import shlex

import pytest
from lstm_ae_cli import main

from lstm_ae.config import Toy
from lstm_ae.config.options import declared_options, flag_name
from lstm_ae.config.space import REPORT, Axis, parse_axis
from lstm_ae.errors import ConfigError


def field_of(name, kind=Toy):
    return next(field for field in declared_options(kind) if field.name == name)


def refusal(name, text, kind=Toy):
    with pytest.raises(ConfigError) as caught:
        parse_axis(field_of(name, kind), text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("units", "8", 8),
        ("units", " 8 ", 8),
        ("units", "8,16,32", Axis("units", (8, 16, 32))),
        ("units", "32, 8 ,16", Axis("units", (32, 8, 16))),  # in the order in which they are listed
        ("units", "8,", 8),
        ("clip", "1,5", Axis("clip", (1.0, 5.0))),
        ("clip", "0,1", Axis("clip", (0.0, 1.0))),
        ("learning_rate", "0.1,1e-2", Axis("learning_rate", (0.1, 0.01))),
        ("optimizer", "sgd,adam", Axis("optimizer", ("sgd", "adam"))),
        ("units", "8..64", Axis("units", low=8, high=64)),
        ("units", "8..64:linear", Axis("units", low=8, high=64)),
        ("units", "8 .. 64:log", Axis("units", low=8, high=64, log=True)),
        ("learning_rate", "1e-4..1e-1:log", Axis("learning_rate", low=1e-4, high=0.1, log=True)),
        ("dropout", "0..0.5", Axis("dropout", low=0.0, high=0.5)),
        ("clip", ".5..5", Axis("clip", low=0.5, high=5.0)),
    ],
)
def test_parse_axis_converts_lists_and_ranges_to_option_type(name, text, expected):
    got = parse_axis(field_of(name), text)
    assert got == expected
    for ours, theirs in zip(numbers(got), numbers(expected), strict=True):
        assert type(ours) is type(theirs)


def numbers(value):
    if not isinstance(value, Axis):
        return [value]
    return list(value.values) or [value.low, value.high]


@pytest.mark.parametrize(
    ("name", "texts", "fact"),
    [
        ("units", ("", " , ,"), "Received: '"),
        ("optimizer", ("",), "Received: ''"),
        ("units", ("8,16,8",), "lists 8 twice"),
        ("learning_rate", ("0.1,1e-1",), "lists 0.1 twice"),
        ("optimizer", ("adam,sgd,adam",), "lists 'adam' twice"),
        ("units", ("64..8",), "Use 8..64"),
        ("learning_rate", ("1e-1..1e-4:log",), "Use 0.0001..0.1"),
        ("units", ("8..8",), "Use 8"),
        ("clip", ("0..5:log",), "above 0"),
        ("units", ("8..64:exp",), ":log or :linear"),
        ("units", ("8,x", "8,0", "8,2.5", "8.0", "1..1e3", "8..", "..8", "8..16,32", "few"), "at most 4096"),
        ("learning_rate", ("fast", "0.1,nan", "0.1..inf", "0..0.1"), "above 0 and at most 10."),
        ("optimizer", ("adam,lion", "a..b"), "adam, adamw, nadam, rmsprop, sgd"),
    ],
)
def test_parse_axis_refuses_values_and_names_the_rule(name, texts, fact):
    for text in texts:
        message = refusal(name, text)
        assert message.startswith(flag_name(name))
        assert fact in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("toy tune --units 8", "There is nothing to search. List several values of an option, as in --units 8,16"),
        (
            "toy tune --units 8..64",
            "--units is a range, and --search grid requires listed values. List them or pass --search random.",
        ),
    ],
)
def test_tune_rejects_invalid_options_in_one_line_and_writes_nothing(capsys, empty_directory, line, message):
    if line.endswith("--units 8"):
        line += " --learning-rate 0.1 --clip 1"  # fixes all three options of the report's grid
    assert main(shlex.split(line)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lstmae: ")
    assert err.count("\n") == 1
    assert message in err
    assert not list(empty_directory.iterdir())


@pytest.mark.parametrize(
    ("axis", "text"),
    [
        (Axis("units", (8, 16)), "8,16"),
        (Axis("clip", (1.0, 0.5)), "1,0.5"),
        (Axis("optimizer", ("adam", "sgd")), "adam,sgd"),
        (Axis("units", low=8, high=64), "8..64"),
        (Axis("learning_rate", low=1e-4, high=0.1, log=True), "0.0001..0.1:log"),
    ],
    ids=str,
)
def test_axis_survives_json_and_has_the_command_line_syntax(axis, text):
    again = Axis.from_dict(json.loads(json.dumps(axis.to_dict(), allow_nan=False)))
    for other in (again, parse_axis(field_of(axis.name), text)):
        assert other == axis
        assert list(map(type, numbers(other))) == list(map(type, numbers(axis)))
        assert str(other) == text


def test_default_axes_are_the_grid_of_the_report():
    assert {axis.name: axis.values for axis in REPORT} == {
        "learning_rate": (0.1, 0.01, 0.001),
        "units": (8, 16, 32),
        "clip": (1.0, 5.0),
    }
