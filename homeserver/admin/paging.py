"""What lists for administrators have in common: where a page begins, and how long it is."""

from typing import Annotated, Literal

import msgspec

Start = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
"""How many to leave out."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
"""How many are wanted; a list is bounded anyway."""
Direction = Literal["f", "b"]
"""Forwards or backwards."""
