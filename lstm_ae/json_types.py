"""Types of JSON documents whose values are read by key; documents of a fixed form have a `TypedDict` instead."""

from collections.abc import Mapping
from typing import Any

# The object of a parsed document, or of one under construction. Functions that only read it take a `JsonMapping`.
JsonObject = dict[str, Any]
JsonMapping = Mapping[str, Any]
