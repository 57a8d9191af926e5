"""From a declared field to an option of the command line."""

import csv
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from lstm_ae.options import Declared, flag
from lstm_ae.space import read, searchable

_KINDS = {int: "int", float: "float"}


def option(field: Declared, *, lists: bool = False, **details: Any) -> Any:
    """An option's annotation, made of a declared field. Numbers stay text where they are none: the rule, which is
    written once, then refuses them in its own words. With `lists`, one that can be searched takes several values."""
    rule = field.option
    details |= {"help": rule.help}
    if lists and searchable(field):
        details |= {"parser": _several(field), "metavar": f"<{_KINDS.get(field.kind, 'name')},...>"}
        if rule.choices:
            choices = list(rule.choices)
            details["autocompletion"] = lambda: choices
        if not all(choice in rule.help for choice in rule.choices):
            details["help"] = f"{rule.help.removesuffix('.')}: {', '.join(rule.choices)}."
        return Annotated[str | None, typer.Option(flag(field.name), **details)]
    if field.kind is bool:
        return Annotated[bool, typer.Option(flag(field.name), metavar="", **details)]
    if rule.choices:
        choices, shown = list(rule.choices), "|".join(rule.choices)
        if len(shown) > 20:
            shown = "<name>"
            if not all(choice in rule.help for choice in choices):
                details["help"] = f"{rule.help.removesuffix('.')}: {', '.join(choices)}."
        details |= {"metavar": shown, "autocompletion": lambda: choices}
    elif rule.repeated:
        return Annotated[list[str] | None, typer.Option(flag(field.name), metavar="<text>", **details)]
    elif field.kind is tuple:
        details |= {"parser": _listed, "metavar": "<a,b,...>"}
    elif field.kind in (int, float):
        details |= {"parser": _number(field.kind), "metavar": f"<{field.kind.__name__}>"}
    return Annotated[str | None, typer.Option(flag(field.name), **details)]


def parameters(field: Declared, lists: bool) -> Iterator[inspect.Parameter]:
    """A field's option; for a switch also the hidden one that puts it off, for use beside `--config`."""
    default = None if field.default in ("", ()) else field.default
    yield parameter(field.name, option(field, lists=lists, rich_help_panel="Configuration"), default)
    if field.kind is bool:
        yield parameter(off(field), Annotated[bool, typer.Option(flag(off(field)), hidden=True)], False)


def off(field: Declared) -> str:
    """The name of what switches a field off."""
    return f"no_{field.name}"


def parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter of a command's function, as Typer reads it."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _number(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            return text

    return read


def _several(field: Declared) -> Callable[[Any], Any]:
    def several(text: Any) -> Any:
        return read(field, text) if isinstance(text, str) else text  # a default is no text

    return several


def _listed(text: str) -> tuple[str, ...]:
    """The items between commas; one that holds commas itself stands in quotes, as in CSV."""
    try:
        items = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:  # a line break outside quotes
        items = text.split(",")
    return tuple(item.strip() for item in items)
