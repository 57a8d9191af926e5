"""A request's text as JSON: fast where it is plain, strict where it is not."""

import json
import math
import re
from typing import Any

import orjson

from lstm_ae.serving.refusals import Refusal, invalid

# A key whose colon stands apart; also `": "` within a text, which is then read slowly, and rightly.
_APART = re.compile(rb'"[ \t\r\n]+:')
# Every number outside the range of doubles has a long exponent or many digits.
_HUGE = re.compile(rb"[eE]\+?0*[0-9]{3}|[0-9]{300}")
# Messages of Python's parser and of TensorFlow Serving's.
_WORDS = {
    "Expecting value": "Invalid value.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Extra data": "The document root must not be followed by other values.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting ',' delimiter": "Missing a comma or a closing bracket after an element.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
    "Invalid control character at": "Invalid encoding in string.",
}


def parse(body: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8, each key there once."""
    try:
        content = orjson.loads(body)
        # orjson is ten times as fast, but keeps the last of equal keys: then there are more in the text than here.
        quick = isinstance(content, dict) and _keys(content) == body.count(b'":') and not _APART.search(body)
    except (orjson.JSONDecodeError, RecursionError):
        quick = False
    if not quick:
        content = _parse_slowly(body)
    if not isinstance(content, dict):
        raise invalid(f"JSON Value: {shown(content)} Is not object")
    return content


def _keys(content: Any) -> int:
    """How many keys the objects hold that a request may hold."""
    if isinstance(content, dict):
        return len(content) + sum(map(_keys, content.values()))
    return sum(map(_keys, content)) if isinstance(content, list) and content and isinstance(content[0], dict) else 0


def _parse_slowly(body: bytes) -> Any:
    """The words NaN and Infinity, and the exact error."""
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    try:
        # Checking every number makes parsing 50% slower.
        number = _finite if _HUGE.search(body) else None
        return json.loads(body.decode("utf-8-sig"), object_pairs_hook=_once, parse_float=number)
    except RecursionError:
        raise invalid("JSON Parse error: lists are nested too deep") from None
    except json.JSONDecodeError as error:
        words = _WORDS.get(error.msg.partition(": ")[0], error.msg)
        raise invalid(f"JSON Parse error: {words} at offset: {error.pos}") from None
    except UnicodeDecodeError as error:
        raise invalid(f"JSON Parse error: not UTF-8 at offset: {error.start}") from None
    except ValueError:
        # Python refuses to parse integers of more than 4,300 digits.
        raise too_big() from None


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise too_big()
    return value


def too_big() -> Refusal:
    """Return the refusal of a number outside the range of doubles."""
    return invalid("JSON Parse error: Number too big to be stored in double.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise invalid("JSON Parse error: a key of an object is there twice")
    return found


def shown(value: Any) -> str:
    """A value for an error, shortened: what a client sends can be of any size, and hold numbers too long to print."""
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        return "..."
    return text if len(text) <= 100 else text[:100] + "..."
