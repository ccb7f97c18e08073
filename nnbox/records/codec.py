"""Records to JSON and back, with every field checked; the only way a record reaches or leaves a disk."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import stat
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from nnbox.errors import RecordError
from nnbox.files import atomic_write_text, digest_text
from nnbox.records.json_text import Json, brief, parse_json

__all__ = [
    "Json",
    "Versioned",
    "brief",
    "decode",
    "digest",
    "dumps",
    "encode",
    "parse_record",
    "read_json",
    "read_record",
    "write_record",
]

_MOST_BYTES = 64 << 20
_MOST_RECORD_BYTES = 256 << 20
_MOST_INTEGER = 2**63 - 1


class Versioned(Protocol):
    """A top-level record: a frozen dataclass that names itself and its version."""

    RECORD: ClassVar[str]
    VERSION: ClassVar[int]
    __dataclass_fields__: ClassVar[dict[str, Any]]


_Record = TypeVar("_Record", bound=Versioned)
_Any = TypeVar("_Any")


def encode(value: object) -> Json:
    """Turn a record (or any value a record may hold) into JSON-ready objects; floats must be finite."""
    if value is None or isinstance(value, (str, int)):  # most values, so first
        return value.value if isinstance(value, Enum) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a record holds the non-finite number {value}; use None for 'undefined'")
    if isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"a record cannot hold {type(value).__name__}")


def dumps(record: Versioned) -> str:
    """Return the record's JSON text, with its name and version in front."""
    body = {"record": record.RECORD, "version": record.VERSION, **encode(record)}
    return json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def digest(record: Versioned) -> str:
    """Return the SHA-256 of the record's JSON text: equal records have equal digests."""
    return digest_text(dumps(record))


def write_record(path: Path, record: Versioned) -> None:
    """Write the record atomically as JSON."""
    atomic_write_text(path, dumps(record))


def read_record(path: Path, kind: type[_Record]) -> _Record:
    """Read a record of the given kind.

    Raises:
        RecordError: the file is missing, no JSON, of another kind or version, or a field does not fit.
    """
    return parse_record(parse_json(_content(path, _MOST_RECORD_BYTES), str(path), finite=True), kind, where=str(path))


def read_json(path: Path) -> Json:
    """Read a JSON file of at most 64 MiB.

    Raises:
        RecordError: missing, no regular file, too large, not UTF-8, not JSON, nested too deeply, or a key twice.
        OSError: the file cannot be read.
    """
    return parse_json(_content(path, _MOST_BYTES), str(path))


def _content(path: Path, most_bytes: int) -> bytes:
    """Return a file's bytes; a pipe or a device, which may never end, is not read."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise RecordError(f"{path} is a pipe or a device; a JSON file is expected")
        if found.st_size > most_bytes:
            raise RecordError(f"{path} is larger than {most_bytes >> 20} MiB; a JSON record is expected")
        return path.read_bytes()
    except FileNotFoundError:
        raise RecordError(f"{path} does not exist") from None


def parse_record(document: Json, kind: type[_Record], *, where: str) -> _Record:
    """Check the name and version of a decoded JSON document and build the record. See `read_record` for errors."""
    if not isinstance(document, dict):
        raise RecordError(f"{where}: a JSON object is expected, not {brief(document)}")
    found = (document.get("record"), document.get("version"))
    if found != (kind.RECORD, kind.VERSION) or type(found[1]) is not int:
        raise RecordError(
            f"{where}: expected record {kind.RECORD!r} version {kind.VERSION}, found {brief(found[0])} version "
            f"{brief(found[1])}; use the nnbox version that wrote it, or make it again"
        )
    body = {key: value for key, value in document.items() if key not in {"record", "version"}}
    return decode(body, kind, where=where)


def decode(value: Json, kind: type[_Any], *, where: str) -> _Any:
    """Build a value of type ``kind`` from JSON objects; ``where`` names the place in error messages.

    Raises:
        RecordError: a value has the wrong type, or a field is missing or unknown.
    """
    return typing.cast("_Any", _decode(value, kind, where))


def _decode(value: Json, kind: Any, where: str) -> object:
    origin = typing.get_origin(kind)
    if origin in {typing.Union, types.UnionType}:
        return _decode_union(value, typing.get_args(kind), where)
    if origin is tuple:
        return _decode_tuple(value, typing.get_args(kind), where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        item = typing.get_args(kind)[1]
        return {key: _decode(entry, item, f"{where}.{key}") for key, entry in value.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(value, kind, where)
    if kind is Any or kind is object:
        return value
    return _decode_scalar(value, kind, where)


def _decode_scalar(value: Json, kind: type, where: str) -> object:
    if issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            allowed = ", ".join(repr(member.value) for member in kind)
            raise _wrong(where, f"one of {allowed}", value) from None
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, int) and abs(value) > _MOST_INTEGER:
        raise _wrong(where, "a number of at most 64 bits", value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind in {str, int, bool} and type(value) is kind:
        return value
    raise _wrong(where, "a finite number" if kind is float else f"a {kind.__name__}", value)


def _decode_union(value: Json, options: tuple[Any, ...], where: str) -> object:
    if value is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    if len(rest) == 1:
        return _decode(value, rest[0], where)
    for option in rest:
        try:
            return _decode(value, option, where)
        except RecordError:
            continue
    raise _wrong(where, " or ".join(str(option) for option in rest), value)


def _decode_tuple(value: Json, items: tuple[Any, ...], where: str) -> object:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_decode(entry, items[0], f"{where}[{index}]") for index, entry in enumerate(value))
    if len(value) != len(items):
        raise _wrong(where, f"a list of {len(items)}", value)
    pairs = zip(value, items, strict=True)
    return tuple(_decode(entry, item, f"{where}[{index}]") for index, (entry, item) in enumerate(pairs))


def _decode_dataclass(value: Json, kind: Any, where: str) -> object:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = _hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(value) - set(fields)):
        raise RecordError(f"{where}: unknown field {brief(unknown[0])}; a newer nnbox may have written it")
    required = [name for name, field in fields.items() if not _has_default(field)]
    if missing := [name for name in required if name not in value]:
        raise RecordError(f"{where}: field {missing[0]!r} is missing")
    return kind(**{name: _decode(entry, hints[name], f"{where}.{name}") for name, entry in value.items()})


@functools.cache
def _hints(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _wrong(where: str, expected: str, value: Json) -> RecordError:
    return RecordError(f"{where}: expected {expected}, found {brief(value)}")
