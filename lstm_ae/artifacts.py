"""Artifacts: fitted statistics that a run stores with its model, one `.npz` file each.

An artifact is a frozen dataclass whose annotations declare how each field is stored:

    @dataclass(frozen=True)
    class ErrorQuantiles(Artifact):
        file = "spread.npz"

        quantiles: Annotated[Float32Array, StoredArray("errors_0", np.floating, "features", "horizon", "quantiles")]
        scale: Scale

Arrays are stored under their names and other values as JSON, under the names of their fields. A field that is a
dataclass or a named tuple, such as `scale`, is a part, whose fields are declared in the same way. Two parts of one type
need `OwnNames`:

        model: Annotated[Calibration, OwnNames()]

A mapping from names to parts of several types, such as the views of a detector, needs `PartsByName`:

        views: Annotated[Mapping[str, View], PartsByName(VIEWS)]
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Self,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from lstm_ae.arrays import Array
from lstm_ae.errors import Code, DataError
from lstm_ae.files import pack_arrays, unpack_arrays
from lstm_ae.json_types import JsonMapping, JsonObject


class StoredArray:
    """An array of an artifact.

    Args:
        name: Name in the file.
        dtype: The type of the elements, or a type that includes it, such as `np.floating`.
        axes: Names of the axes. Axes of one name have one length in an artifact.
        stored_as: Type in the file; None for that of the array.
        flag: Name of a value that is true if the array is in the file; "" if the array is never None.
    """

    def __init__(self, name: str, dtype: type, *axes: str, stored_as: type | None = None, flag: str = "") -> None:
        self.name, self.dtype, self.axes, self.stored_as, self.flag = name, dtype, axes, stored_as, flag

    def with_prefix(self, prefix: str) -> "StoredArray":
        """Return the array of a part with `OwnNames`: its name, axes, and flag with a prefix."""
        axes, flag = [prefix + axis for axis in self.axes], self.flag and prefix + self.flag
        return StoredArray(prefix + self.name, self.dtype, *axes, stored_as=self.stored_as, flag=flag)

    def check(self, array: Array, lengths: dict[str, int]) -> None:
        """Raise `ValueError` if the type, an axis, or a length is wrong; add the lengths of the axes to `lengths`."""
        if not np.issubdtype(array.dtype, self.dtype):
            raise ValueError(f"{self.name} must be {self.dtype.__name__}. Received: {array.dtype}")
        if array.ndim != len(self.axes):
            raise ValueError(f"{self.name} must have the axes {', '.join(self.axes)}. Received: shape {array.shape}")
        for axis, length in zip(self.axes, array.shape, strict=True):
            if lengths.setdefault(axis, length) != length:
                raise ValueError(f"{self.name} must have {lengths[axis]} {axis}. Received: {length}")


class OwnNames:
    """Mark a part whose arrays, axes, and values have the name of its field before their own, with a dot between."""


class PartsByName:
    """Mark a mapping from names to parts. The arrays, axes, and values of a part follow its name and a dot.

    Args:
        kinds: The type of the part of each name.
    """

    def __init__(self, kinds: Mapping[str, type]) -> None:
        self.kinds = kinds


@dataclasses.dataclass(frozen=True)
class Artifact:
    """Base class of the artifacts.

    Attributes:
        file: Name of the file in the run directory.
        advice: What to do if the file is missing.
        repair: What to do if the file is damaged.
    """

    file: ClassVar[str]
    advice: ClassVar[str] = "Train a new run"
    repair: ClassVar[str] = "restore it, or train a new run"

    def content(self) -> bytes:
        """Return the content of the file.

        Raises:
            ValueError: If an array does not have its declared type and axes.
        """
        values, arrays = dict[str, Any](), dict[str, Array]()
        _collect(self, values, arrays, {})
        return pack_arrays(values, arrays)

    @classmethod
    def from_content(cls, content: bytes, name: str) -> Self:
        """Return the artifact of a file's content.

        Args:
            content: The content.
            name: Path of the file, for errors.

        Raises:
            DataError: If an array or value is missing or does not have its declared type.
        """
        values, arrays = unpack_arrays(content, repr(name), cls.repair)
        try:
            artifact: Self = _build(cls, values, arrays, {})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{name!r} is damaged ({error}); {cls.repair}", code=Code.RUN_DAMAGED) from error
        return artifact


class _Field(NamedTuple):
    """A field of an artifact or a part.

    Args:
        name: Name of the field.
        key: Its name in the file, for values.
        kind: Its type.
        array: What it is in the file, for arrays, else None.
        prefix: What precedes the names of its own fields in the file, for parts.
        kinds: The types of the parts of a mapping by name, else None.
    """

    name: str
    key: str
    kind: Any
    array: StoredArray | None
    prefix: str
    kinds: Mapping[str, type] | None = None

    @property
    def is_part(self) -> bool:
        """Whether the field is a part."""
        return dataclasses.is_dataclass(self.kind) or hasattr(self.kind, "_fields")


@functools.cache
def _stored_fields(kind: Any, prefix: str) -> list[_Field]:
    """Return the fields of an artifact or a part whose names in the file have a prefix."""
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind._fields
    fields = []
    for name in names:
        hint, note = hints[name], None
        if get_origin(hint) is Annotated:
            hint, note = hint.__origin__, hint.__metadata__[0]
        array = note.with_prefix(prefix) if isinstance(note, StoredArray) else None
        own = f"{prefix}{name}." if isinstance(note, OwnNames) else prefix
        kinds = note.kinds if isinstance(note, PartsByName) else None
        fields.append(_Field(name, prefix + name, hint, array, own, kinds))
    return fields


def _collect(
    part: object, values: JsonObject, arrays: dict[str, Array], lengths: dict[str, int], prefix: str = ""
) -> None:
    kind: Any = type(part)
    for field in _stored_fields(kind, prefix):
        value, array = getattr(part, field.name), field.array
        if array is not None:
            if value is None and array.flag:
                continue
            value = np.asarray(value, array.stored_as)
            array.check(value, lengths)
            arrays[array.name] = value
            if array.flag:
                values[array.flag] = True
        elif field.kinds is not None:
            values[field.key] = list(value)
            for name, each in value.items():
                _collect(each, values, arrays, lengths, f"{field.prefix}{name}.")
        elif field.is_part:
            _collect(value, values, arrays, lengths, field.prefix)
        else:
            _check_value(field.key, field.kind, value)
            values[field.key] = value


def _build(
    kind: Any, values: JsonMapping, arrays: Mapping[str, Array], lengths: dict[str, int], prefix: str = ""
) -> Any:
    fields: dict[str, Any] = {}
    for field in _stored_fields(kind, prefix):
        if (array := field.array) is not None:
            if array.flag and not values.get(array.flag):
                fields[field.name] = None
                continue
            array.check(arrays[array.name], lengths)
            fields[field.name] = arrays[array.name]
        elif field.kinds is not None:
            names = values[field.key]
            if not names or not isinstance(names, list):
                raise ValueError(f"{field.key} must be a list of names. Received: {names!r}")
            fields[field.name] = {
                name: _build(field.kinds[name], values, arrays, lengths, f"{field.prefix}{name}.") for name in names
            }
        elif field.is_part:
            fields[field.name] = _build(field.kind, values, arrays, lengths, field.prefix)
        else:
            _check_value(field.key, field.kind, values[field.key])
            fields[field.name] = values[field.key]
    return kind(**fields)


def _check_value(name: str, kind: Any, value: object) -> None:
    """Raise `ValueError` if a value does not have the type of its field."""
    if get_origin(kind) is Literal:
        allowed = value in get_args(kind)
    else:
        # An int is a valid float, but a bool is not a valid number.
        allowed = isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (
            kind is bool
        )
    if not allowed:
        raise ValueError(f"{name} must be {kind}. Received: {value!r}")
