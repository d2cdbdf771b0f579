"""JSON and query strings into the types that endpoints declare; whatever does not fit is told so.

https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
"""

import re
from typing import Any, Generic, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
import orjson

from federation.canonical_json import MAX_NESTING, check_strict
from federation.errors import CanonicalJSONError
from homeserver.errors import BadJson, InvalidParam, MatrixError, MissingParam, NotJson

T = TypeVar("T")

Pairs = list[tuple[str, str]]
"""A query, decoded, in the order in which it was sent."""

MOST_PARAMETERS = 1000
"""In one query."""

_WRONG_TYPE = re.compile(r"Expected `[^`]*`, got `")
_MANY = (
    msgspec.inspect.ListType,
    msgspec.inspect.SetType,
    msgspec.inspect.FrozenSetType,
    msgspec.inspect.VarTupleType,
)


class Shape(Generic[T]):
    """What a body must look like: a `msgspec.Struct`, a `dict`, or a choice of such.

    Unknown fields are ignored.
    """

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._may_be_absent = _fits(kind, None)
        self._may_be_empty = _is_struct(kind) and _fits(kind, {})

    def decode(self, raw: bytes) -> T:
        """Read a body.

        An empty body counts as `None` where that may be, or as `{}` where all fields of a struct
        may be missing.
        The `Content-Type` does not matter. Numbers beyond 64 bits are read as floats, as orjson
        does; who needs them as they are reads the bytes.

        Raises:
            NotJson: it is not JSON, or not UTF-8; a lone surrogate, NaN or the like.
            BadJson: JSON of another form, or nested without end.
            MissingParam: a field is missing that may not be.
            InvalidParam: a value of the right kind that is not allowed.

        """
        if not raw and (self._may_be_absent or self._may_be_empty):
            return msgspec.convert(None if self._may_be_absent else {}, self._kind)
        value = decode_json(raw)
        # Only an absent body can be `None`.
        if type(value) is not dict:
            raise BadJson("the body must be a JSON object")
        try:
            return msgspec.convert(value, self._kind)
        except msgspec.ValidationError as error:
            raise as_matrix_error(error, BadJson) from error


class QueryShape(Generic[T]):
    """What a query must look like: a `msgspec.Struct` whose lists are parameters given repeatedly.

    Unknown parameters are ignored; of one that is given twice and is no list, the first counts.
    """

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        shape = msgspec.inspect.type_info(kind)
        if not isinstance(shape, msgspec.inspect.StructType):
            raise TypeError(f"not a msgspec.Struct: {kind}")
        self._many = {field.encode_name for field in shape.fields if _is_many(field.type)}

    def decode(self, pairs: Pairs) -> T:
        """Read a query.

        Raises:
            MissingParam: a parameter is missing that may not be.
            InvalidParam: one has a value that it cannot have.

        """
        found: dict[str, str | list[str]] = {}
        for name, value in pairs:
            if name in self._many:
                cast("list[str]", found.setdefault(name, [])).append(value)
            else:
                found.setdefault(name, value)
        try:
            return msgspec.convert(found, self._kind, strict=False)
        except msgspec.ValidationError as error:
            raise as_matrix_error(error, InvalidParam) from error


def decode_json(raw: bytes) -> Any:
    """Read JSON, or raise `NotJson`, or `BadJson` where it is nested beyond `MAX_NESTING`."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise NotJson from error
    if raw.count(b"[") + raw.count(b"{") > MAX_NESTING and _is_deep(value):
        raise BadJson("the JSON is nested too deeply")
    return value


def check_canonical(value: object) -> None:
    """Refuse what events of room versions since 6 cannot hold, by raising `BadJson`.

    https://spec.matrix.org/v1.19/appendices/#canonical-json
    """
    try:
        check_strict(value)
    except CanonicalJSONError as error:
        raise BadJson(str(error)) from error


def decode_query(query: str) -> Pairs:
    """Take a query string apart, or raise `InvalidParam` where it cannot be read."""
    if not query:
        return []
    try:
        if not query.isascii():
            query.encode()
        return parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except ValueError as error:
        raise InvalidParam("the query cannot be read") from error


def as_matrix_error(error: msgspec.ValidationError, wrong_type: type[MatrixError]) -> MatrixError:
    """Say what msgspec found wrong; `wrong_type` is for a value of another kind than asked for."""
    text = str(error)
    if text.startswith("Object missing required field"):
        return MissingParam(text.replace("Object missing required field", "missing:"))
    return wrong_type(text) if _WRONG_TYPE.match(text) else InvalidParam(text)


def _fits(kind: type[T], value: object) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_many(kind: msgspec.inspect.Type) -> bool:
    if isinstance(kind, msgspec.inspect.UnionType):
        return any(isinstance(choice, _MANY) for choice in kind.types)
    return isinstance(kind, _MANY)


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_NESTING + 1):
        level = [
            child
            for found in level
            if isinstance(found, dict | list)
            for child in (found.values() if isinstance(found, dict) else found)
        ]
        if not level:
            return False
    return True
