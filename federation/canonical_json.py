"""JSON in and out of the event graph, strict and lenient.

Strict (room versions since 6, and everything that is signed outside of events): integers within
±(2⁵³-1) only, no floats, no NaN, no lone surrogates; read and written by orjson, whose sorted
output equals canonical JSON for every value that strictness lets through.

Lenient (room versions 1 to 5): floats and integers of any size are kept, and written as the
standard library writes them, because the hashes of those rooms were made that way. orjson must
not be used there: it writes NaN as `null`, reads integers beyond 64 bits as floats, and spells
floats differently.

https://spec.matrix.org/v1.19/appendices/#canonical-json
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

from federation.errors import CanonicalJSONError

JsonObject = dict[str, Any]
"""A decoded JSON object; only where JSON is read or written, and in an event's content."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that canonical JSON allows; the smallest is its negative."""

MAX_NESTING = 512
"""How many objects and arrays may stand in each other.

A limit of our own: without one, what can be read would depend on how deep the caller stands in
calls, and so differ from one look at an event to the next.
"""

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_LENIENT = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
)


def encode(value: object, *, strict: bool = True) -> bytes:
    """Write a decoded JSON value in its canonical form.

    A strict value is expected to have passed `check_strict` (as everything from `decode` has).

    Raises:
        CanonicalJSONError: the value has no canonical form.

    """
    if not strict:
        return _encode_lenient(value)
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError as error:
        # orjson gives up at 254 levels.
        if "Recursion" in str(error):
            return _encode_lenient(value)
        raise CanonicalJSONError(str(error)) from error


def encode_to_keep(value: object, *, strict: bool = True) -> bytes:
    """As `encode`, in no more memory than its size, for what is kept.

    orjson reserves 4 kB for what it writes, and leaves the rest of it unused.
    """
    return bytes(memoryview(encode(value, strict=strict)))


def decode(raw: bytes, *, strict: bool = True) -> Any:
    """Read JSON, refusing what could not be written canonically again.

    Raises:
        CanonicalJSONError: not JSON, not UTF-8, or (when strict) outside of canonical JSON.

    """
    if not strict:
        return _decode_lenient(raw)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise CanonicalJSONError(f"not JSON: {error}") from error
    check_strict(value)
    return value


def decode_object(raw: bytes, *, strict: bool = True) -> JsonObject:
    """Read JSON whose outermost value is an object; errors as `decode`."""
    value = decode(raw, strict=strict)
    if type(value) is not dict:
        raise CanonicalJSONError("not a JSON object")
    return value


def decode_checked(raw: bytes, *, strict: bool = True) -> JsonObject:
    """Read an object that went through `decode` or `encode` before; what it holds is not looked at.

    Raises:
        CanonicalJSONError: it is not even JSON: it was not kept well.

    """
    if not strict:
        return decode_object(raw, strict=False)
    try:
        value: JsonObject = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise CanonicalJSONError(f"not JSON: {error}") from error
    return value


def check_strict(value: object) -> None:
    """Refuse what canonical JSON has no place for: floats, large integers, and endless nesting.

    Raises:
        CanonicalJSONError: naming the first offender found.

    """
    level: list[Any] = [value]
    for _ in range(MAX_NESTING + 1):
        below: list[Any] = []
        for found in level:
            kind = type(found)
            if kind is dict:
                below.extend(found.values())
            elif kind is list or kind is tuple:
                below.extend(found)
            elif kind is float:
                raise CanonicalJSONError(f"a float: {found}")
            elif kind is int and not -MAX_INTEGER <= found <= MAX_INTEGER:
                raise CanonicalJSONError("an integer beyond ±(2**53 - 1)")
        if not below:
            return
        level = below
    raise CanonicalJSONError(f"nested in more than {MAX_NESTING} levels")


def without(fields: Mapping[str, Any], *keys: str) -> JsonObject:
    """A copy of the object that lacks some of its keys."""
    return {key: value for key, value in fields.items() if key not in keys}


def _encode_lenient(value: object) -> bytes:
    try:
        return _LENIENT.encode(value).encode()
    except RecursionError as error:
        raise CanonicalJSONError("nested too deeply") from error
    except (ValueError, TypeError) as error:  # NaN, infinity, a lone surrogate; no JSON value
        raise CanonicalJSONError(str(error)) from error


def _decode_lenient(raw: bytes) -> Any:
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant, parse_float=_finite_float)
    except RecursionError as error:
        raise CanonicalJSONError("nested too deeply") from error
    except ValueError as error:  # not UTF-8, not JSON, an integer of thousands of digits
        raise CanonicalJSONError(f"not JSON: {error}") from error
    _check_nesting(value)
    # Half of a surrogate pair can be escaped, but not written in UTF-8.
    if b"\\u" in raw:
        _encode_lenient(value)
    return value


def _check_nesting(value: object) -> None:
    # Of millions of values only those are looked at that hold others.
    level: list[Any] = [value] if type(value) is dict or type(value) is list else []
    for _ in range(MAX_NESTING):
        level = [
            child
            for found in level
            for child in (found.values() if type(found) is dict else found)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    if any(level):
        raise CanonicalJSONError(f"nested in more than {MAX_NESTING} levels")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number beyond floats")
    return number
