"""Griffe extension: resolve defaults that are taken from a config, and mark the examples of docstrings."""

import re
from typing import Any

import griffe

from lstm_ae.config import Series


class ResolveDefaults(griffe.Extension):
    """Show the value of a default such as `Series.window`, and render doctests as examples."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change a loaded object in place."""
        # The constructor of a dataclass is made from the values of its attributes.
        if obj.is_attribute and obj.parent.is_class:
            obj.value = _resolve(obj.value)
        for parameter in obj.parameters if obj.is_function else ():
            parameter.default = _resolve(parameter.default)
        if obj.docstring:
            # The Google style knows examples by their heading.
            obj.docstring.value = re.sub(
                r"^>>> (?:.+\n?)+",
                lambda block: "Examples:\n" + re.sub("(?m)^", "    ", block[0].rstrip("\n")) + "\n",
                obj.docstring.value,
                flags=re.M,
            )


def _resolve(value: Any) -> Any:
    """Return the text of a value such as `Series.window`; other values are unchanged."""
    owner, _, name = str(value).partition(".")
    return repr(getattr(Series, name)) if owner == "Series" else value
