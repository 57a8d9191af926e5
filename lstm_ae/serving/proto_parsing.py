"""Parse large protobuf messages in pieces, so that other threads run in between.

The parser holds Python's global lock for the whole of a call: three seconds for 15 MB of short strings, during which
the server would answer nothing else.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

Parsed = TypeVar("Parsed", bound=Message)

# Bytes of a piece. Larger fields are parsed field by field, unless they are a single number list, string, or map key.
PIECE_BYTES = 2**16

# Nesting of messages that protobuf's own parser accepts.
MAX_DEPTH = 100

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


def parse_message(kind: type[Parsed], content: bytes) -> Parsed:
    """Return the message that `kind.FromString(content)` returns, without fields that the server does not know.

    Raises:
        DecodeError: If the content is not such a message, or contains groups, which no message of the server has.
    """
    message: Parsed = kind()
    _merge(message, memoryview(content), MAX_DEPTH)
    return message


def _merge(message: Any, content: memoryview, depth: int) -> None:
    if depth < 0:
        raise DecodeError("The message is nested too deeply")
    fields, start = message.DESCRIPTOR.fields_by_number, 0
    if len(content) > PIECE_BYTES:
        for number, begin, inner, end in _split_fields(content):
            field = fields.get(number)
            if end - inner > PIECE_BYTES and inner > begin and field is not None and field.message_type is not None:
                message.MergeFromString(content[start:begin])
                _merge_field(message, field, content[inner:end], depth - 1)
                start = end
            elif end - start >= PIECE_BYTES:
                message.MergeFromString(content[start:end])
                start = end
    message.MergeFromString(content[start:])


def _merge_field(message: Any, field: Any, content: memoryview, depth: int) -> None:
    """Merge the content of a nested message."""
    value = getattr(message, field.name)
    if not field.message_type.GetOptions().map_entry:
        nested = value.add() if _is_repeated(field) else value
        nested.SetInParent()
        _merge(nested, content, depth)
        return
    if any(number not in (1, 2) for number, *_ in _split_fields(content)):
        return  # An entry with unknown fields is unknown as a whole.
    entry = field.message_type._concrete_class()
    if field.message_type.fields_by_name["value"].message_type is None:
        entry.MergeFromString(content)
        value[entry.key] = entry.value
        return
    values = []
    for number, begin, inner, end in _split_fields(content):
        if number == 2 and inner > begin:
            values.append(content[inner:end])
        else:
            entry.MergeFromString(content[begin:end])
    # The last entry of a key counts.
    value.pop(entry.key, None)
    made = value[entry.key]
    for part in values:
        _merge(made, part, depth)


def _is_repeated(field: Any) -> bool:
    # `label` is deprecated in favor of `is_repeated`, which older versions lack.
    repeated = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)


def _split_fields(content: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, first byte, first byte of the value, and end of each field.

    The first byte of the value is that of the field, unless the value is a message, a string, or a number list.
    """
    place, size = 0, len(content)
    while place < size:
        begin = place
        tag, place = _read_varint(content, place)
        inner, wire = begin, tag & 7
        if wire == _DELIMITED:
            length, inner = _read_varint(content, place)
            place = inner + length
        elif wire == _VARINT:
            _, place = _read_varint(content, place)
        elif wire in (_FIXED64, _FIXED32):
            place += 8 if wire == _FIXED64 else 4
        else:
            raise DecodeError("The message contains a group")
        if place > size:
            raise DecodeError("The message is truncated")
        yield tag >> 3, begin, inner, place


def _read_varint(content: memoryview, place: int) -> tuple[int, int]:
    """Return a number and the place after it."""
    number = shift = 0
    try:
        while (byte := content[place]) > 127:
            number |= (byte & 127) << shift
            shift, place = shift + 7, place + 1
            if shift > 63:
                raise DecodeError("A number of the message is longer than 64 bits")
    except IndexError:
        raise DecodeError("The message is truncated") from None
    return number | byte << shift, place + 1
