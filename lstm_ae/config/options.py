"""Declaration of options: one dataclass field defines an option's name, type, default, range, and help text.

The command line, `config.json`, and hyperparameter search read the same field.
"""

import contextlib
import csv
import dataclasses
import difflib
import io
import math
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

from lstm_ae.errors import Code, ConfigError
from lstm_ae.json_types import JsonMapping, JsonObject

# Headings of the options in help texts and config files, in this order.
GROUPS = TASK, DATA, MODEL, TRAINING = ("Task", "Data", "Model", "Training")

# Rare options, which have no flag of their own but are set by --set NAME=VALUE.
RARE = (
    "beta_2",
    "bidirectional",
    "decoder_start",
    "decoder_units",
    "delay_line",
    "dropout",
    "epsilon",
    "every",
    "head",
    "kernel",
    "layers",
    "optimizer",
    "pool",
    "schedule",
    "season",
    "steps_per_epoch",
    "stride",
    "views",
)


class Option(NamedTuple):
    """Metadata of a config field.

    Args:
        help: help text, a phrase of about a dozen words; ends with a period.
        group: heading of the option in help texts and config files, one of `GROUPS`.
        details: further sentences for the reference and for config files.
        advanced: whether only the full help shows the option.
        minimum: smallest value.
        maximum: largest value.
        above: exclusive lower bound.
        below: exclusive upper bound.
        choices: allowed values.
        tunable: whether a search may vary the option.
        required: whether an empty value is refused.
        repeated: whether a list is given by repeating the option, because its items may contain commas.
        needs: names of other options with the values that they must have for this option to apply.
    """

    help: str
    group: str = ""
    details: str = ""
    advanced: bool = False
    minimum: float = -math.inf
    maximum: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    choices: tuple[str, ...] = ()
    tunable: bool = True
    required: bool = False
    repeated: bool = False
    needs: tuple[tuple[str, tuple[object, ...]], ...] = ()

    def rule(self, kind: type) -> str:
        """Return a description of the allowed values, for help and errors."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        words = [
            {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind, "a list of names")
        ]
        for text, bound in (
            ("above", self.above),
            ("at least", self.minimum),
            ("below", self.below),
            ("at most", self.maximum),
        ):
            if math.isfinite(bound):
                words.append(f"{text} {bound:g}" if bound < 1e6 else f"{text} {bound:.0f}")
        return words[0] + (" " + " and ".join(words[1:]) if words[1:] else "")


def option(default: Any, help: str, group: str = "", **rules: Any) -> Any:
    """Declare a config field with its default, help text, group, and the rules of `Option`."""
    return dataclasses.field(default=default, metadata={"option": Option(help, group, **rules)})


def redefault(base: type, name: str, default: Any, **rules: Any) -> Any:
    """Redeclare the field `name` of `base` with another default, and other rules if given."""
    field = base.__dataclass_fields__[name]  # type: ignore[attr-defined]
    return option(default, **(field.metadata["option"]._asdict() | rules))


def flag_name(name: str) -> str:
    """Return the spelling of a field on the command line.

    >>> flag_name("batch_size"), flag_name("beta_2")
    ('--batch-size', '--set beta_2')
    """
    return f"--set {name}" if name in RARE else "--" + name.replace("_", "-")


def spell_option(name: str, *values: object) -> str:
    """Return the spelling of a field with one of these values on the command line.

    >>> spell_option("latent", "steps", "vector"), spell_option("deterministic", False)
    ('--latent steps or vector', '--no-deterministic')
    >>> spell_option("delay_line", False)
    '--set delay_line=false'
    """
    if isinstance(values[0], bool) and name not in RARE:
        return flag_name(name if values[0] else f"no_{name}")
    *others, last = (str(value).lower() if isinstance(value, bool) else str(value) for value in values)
    words = f"{', '.join(others)} or {last}" if others else last
    return f"{flag_name(name)}{'=' if name in RARE else ' '}{words}"


def option_words(kind: "type[Options]", values: JsonMapping) -> list[str]:
    """Return the words of a command line that set these fields of a config class.

    >>> from lstm_ae.config import Reading
    >>> option_words(Reading, {"window": 8, "columns": ("a", "b,c"), "missing": ("-1",)})
    ['--window', '8', '--columns', 'a,"b,c"', '--missing=-1']
    """
    fields = {field.name: field for field in declared_options(kind)}
    words: list[str] = []
    for name, value in values.items():
        field = fields[name]
        if name in RARE:
            words += spell_option(name, value).split(" ", 1)
            continue
        if field.kind is bool:
            words.append(spell_option(name, bool(value)))
            continue
        several = isinstance(value, list | tuple)
        texts = list(map(str, value)) if several and field.option.repeated else [value]
        for text in (format_csv_line(each) if isinstance(each, list | tuple) else str(each) for each in texts):
            # A value that begins with "-" needs an equals sign so that it is not parsed as an option.
            words += [f"{flag_name(name)}={text}"] if text.startswith("-") else [flag_name(name), text]
    return words


def format_csv_line(items: Iterable[str]) -> str:
    """Return items as a line of CSV without its end.

    >>> format_csv_line(["a", "b,c"])
    'a,"b,c"'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(items)
    return text.getvalue()


class Declared(NamedTuple):
    """Field of a config class with its resolved type.

    Args:
        name: name of the field.
        kind: type without `None`.
        optional: whether None is allowed.
        default: default value.
        option: rules and help.
    """

    name: str
    kind: type
    optional: bool
    default: Any
    option: Option


_DECLARED: dict[type, tuple[Declared, ...]] = {}


def declared_options(config: type) -> tuple[Declared, ...]:
    """Return all options of a config class in the order of declaration."""
    if config not in _DECLARED:
        # The command line reads the same classes for every command, and type hints take long to resolve.
        _DECLARED[config] = tuple(_resolve_options(config))
    return _DECLARED[config]


def _resolve_options(config: type) -> Iterator[Declared]:
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        members = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        kind = next(member for member in members if member is not types.NoneType)
        kind = typing.get_origin(kind) or kind
        yield Declared(field.name, kind, types.NoneType in members, field.default, field.metadata["option"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Base class of configs: validates every field on construction and converts to and from JSON types."""

    def __post_init__(self) -> None:
        fields = declared_options(type(self))
        for field in fields:
            object.__setattr__(self, field.name, check_value(field, getattr(self, field.name)))
            if field.option.required and getattr(self, field.name) in ("", (), None):
                text = field.option.help.rstrip(".")
                raise ConfigError(f"{field.name} is missing. Add it: {text}", code=Code.MISSING_OPTION)
        for field in fields:
            if getattr(self, field.name) == field.default:
                continue
            for name, values in field.option.needs:
                if (actual := getattr(self, name)) not in values:
                    flag, needed = flag_name(field.name), spell_option(name, *values)
                    text = f"{flag} is for {needed}. Received: {spell_option(name, actual)}"
                    raise ConfigError(f"{text}. Remove {flag}, or pass {needed}", code=Code.OPTION_NOT_APPLICABLE)

    def applies(self, name: str) -> bool:
        """Return whether the class has this option and the values of the other options allow it."""
        return any(
            all(getattr(self, other) in values for other, values in field.option.needs)
            for field in declared_options(type(self))
            if field.name == name
        )

    def to_dict(self) -> JsonObject:
        """Return all fields in JSON types."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: JsonMapping) -> Self:
        """Return the config with the values of a mapping.

        Raises:
            ConfigError: if a key is not an option, or a value is not allowed.
        """
        names = [field.name for field in declared_options(cls)]
        require_known_keys(values, names, f"the config of {cls.__name__.lower()}")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})

    @classmethod
    def merge(cls, base: JsonMapping, overrides: JsonMapping) -> Self:
        """Return the config of `base` updated with `overrides`, without options of `base` that do not apply.

        Args:
            base: values by option name.
            overrides: values that take precedence.

        Raises:
            ConfigError: if a key is not an option, a value is not allowed, or two overrides are incompatible.
        """
        values, fields = {**base, **overrides}, declared_options(cls)
        known = {field.name: field for field in fields}

        def value(name: str) -> Any:
            return check_value(known[name], values[name]) if name in values else known[name].default

        # Removing an option may make others inapplicable, so repeat.
        for _ in fields:
            for field in fields:
                unmet = any(value(name) not in allowed for name, allowed in field.option.needs)
                if unmet and field.name not in overrides:
                    values.pop(field.name, None)
        return cls.from_dict(values)


def require_known_keys(values: Iterable[str], names: Sequence[str], where: str) -> None:
    """Raise `ConfigError` for the first key that is not one of the names; the message has the nearest name.

    Args:
        values: the keys, or a mapping by key.
        names: the known keys.
        where: what holds the keys, for the message.
    """
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            hint = f"Did you mean {near[0]!r}?" if near else "Known keys: " + ", ".join(names) + "."
            raise ConfigError(f"Unknown key {key!r} in {where}. {hint}", code=Code.CONFIG_FILE)


def check_value(field: Declared, value: object) -> Any:
    """Return the value in the field's type.

    Raises:
        ConfigError: if the value is not allowed; the message states the rule.
    """
    if value is None and field.optional:
        return None
    rule = field.option
    problem = ConfigError(f"{flag_name(field.name)} must be {rule.rule(field.kind)}. Received: {_shown(value)}")
    if field.kind is float and type(value) is int:
        with contextlib.suppress(OverflowError):
            value = float(value)
    if type(value) is not field.kind:
        raise problem
    if rule.choices and value not in rule.choices:
        raise problem
    if isinstance(value, tuple) and not all(isinstance(item, str) and item for item in value):
        raise problem
    if isinstance(value, int | float) and not isinstance(value, bool):
        in_range = rule.minimum <= value <= rule.maximum and rule.above < value < rule.below
        if not in_range or not math.isfinite(value):  # in this order, since isfinite raises for integers above 1e308
            raise problem
    return value


def parse_text(field: Declared, text: str) -> Any:
    """Return the value of an option from its text; the items of a list are separated by commas, as in CSV.

    Raises:
        ConfigError: if the value is not allowed.
    """
    value: Any = text.strip()
    if field.kind in (int, float):
        with contextlib.suppress(ValueError):
            value = field.kind(value)
    elif field.kind is bool:
        value = {"true": True, "false": False}.get(value, value)
    elif field.kind is tuple:
        try:
            items = next(csv.reader([value], skipinitialspace=True), [])
        except csv.Error:  # a line break outside quotes
            items = value.split(",")
        value = tuple(item.strip() for item in items)
    return check_value(field, value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
