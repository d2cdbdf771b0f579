"""JSON that is stored as it came, and goes out as it is."""


class RawJson:
    """Stands in an answer for a value that is written already."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
