"""E-mail addresses and telephone numbers, in the one form in which they are compared.

https://spec.matrix.org/v1.19/appendices/#3pid-types
"""

import re
from typing import NamedTuple

from homeserver.errors import InvalidParam, MediumNotSupported

EMAIL = "email"
MSISDN = "msisdn"
_LONGEST = 500
_EMAIL = re.compile(r"[^@\s<>\"(),:;\[\]\x00-\x1f\x7f-\x9f]+@[^@\s<>\"(),:;\x00-\x1f\x7f-\x9f]+")
_MSISDN = re.compile(r"[0-9]{4,15}", re.ASCII)


class Address(NamedTuple):
    """Somebody outside of Matrix, in canonical form."""

    medium: str
    address: str


def parse_address(medium: str, address: str) -> Address:
    """The address in its canonical form.

    Raises:
        MediumNotSupported: it is of an unknown kind.
        InvalidParam: it cannot be one.

    """
    if medium == EMAIL:
        return Address(EMAIL, parse_email(address))
    if medium != MSISDN:
        raise MediumNotSupported
    if not _MSISDN.fullmatch(address):
        raise InvalidParam("address is not a telephone number")
    return Address(MSISDN, address)


def parse_email(address: str) -> str:
    """An e-mail address in its canonical form, or raise `InvalidParam`.

    It holds nothing that could end the line of a mail's header.
    """
    folded = address.casefold()
    try:
        folded.encode()
    except UnicodeEncodeError as error:
        raise InvalidParam("the address is not Unicode") from error
    if len(folded) > _LONGEST or not _EMAIL.fullmatch(folded):
        raise InvalidParam("this is not an e-mail address")
    return folded
