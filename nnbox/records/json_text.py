"""JSON that somebody else may have written: size, depth, keys and text are checked before anything is made of it."""

from __future__ import annotations

import itertools
import json
import re
import reprlib
from typing import Any, NoReturn

from nnbox.errors import RecordError

Json = Any
MOST_DEPTH = 64
"""Levels of nesting; no record has more than ten, and Python's own functions fail at a thousand."""
_MOST_VALUES = 1 << 25
"""Python takes some 60 bytes for the smallest of them."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(content: bytes, where: str, *, finite: bool = False) -> Json:
    """Decode a JSON document.

    Args:
        content: UTF-8, with or without a byte order mark.
        where: names the document in messages.
        finite: refuse the words NaN and Infinity, which Python's decoder takes though JSON has no such numbers.

    Raises:
        RecordError: no UTF-8, no JSON, nested too deeply, a key twice in an object, text that no encoding can hold, or
            more than fits into memory.
    """
    try:
        _require_modest(content, where)
        document = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_constant=_no_number if finite else None,
        )
        if _HALF_PAIR.search(content):
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RecordError(f"{where} holds text that is no valid Unicode (half of a pair such as \\ud800)") from None
    except MemoryError:
        raise RecordError(f"{where} holds more values ({len(content):,} bytes) than fit into memory") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where} is not valid JSON ({error})") from None
    return document


def brief(value: object) -> str:
    """Return a value as a message shows it: at most 60 characters, whatever it is."""
    text = _BRIEF.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _require_modest(content: bytes, where: str) -> None:
    values = content.count(b",") + content.count(b"[") + content.count(b"{")
    if values > _MOST_VALUES:
        raise RecordError(f"{where} holds {values:,} values; at most {_MOST_VALUES:,} are expected")
    brackets = _STRING.sub(b"", content).translate(None, _NO_BRACKETS)
    depth = max(itertools.accumulate(map(_STEPS.__getitem__, brackets)), default=0)
    if depth > MOST_DEPTH:
        raise RecordError(f"{where} is nested {depth} levels deep; at most {MOST_DEPTH} are expected")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {brief(doubled)} is there twice in one object")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number that JSON has")


_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxlist, _BRIEF.maxdict, _BRIEF.maxtuple = 4, 12, 12, 12
_BRIEF.maxstring = _BRIEF.maxlong = _BRIEF.maxother = 60
