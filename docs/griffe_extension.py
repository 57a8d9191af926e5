"""Griffe extension: resolve defaults that are taken from a config, and mark the examples of docstrings."""

import re
from typing import Any

import griffe

from lstm_ae.config import Series


class ResolveDefaults(griffe.Extension):
    """Show the value of a default such as `Series.window`, and render doctests as examples."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change a loaded object in place."""
        for parameter in getattr(obj, "parameters", ()) if obj.is_function else ():
            owner, _, name = str(parameter.default).partition(".")
            if owner == "Series":
                parameter.default = repr(getattr(Series, name))
        if obj.docstring:
            # The Google style knows examples by their heading.
            obj.docstring.value = re.sub(
                r"^>>> (?:.+\n?)+",
                lambda block: "Examples:\n" + re.sub("(?m)^", "    ", block[0].rstrip("\n")) + "\n",
                obj.docstring.value,
                flags=re.M,
            )
