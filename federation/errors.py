"""Everything `federation` can raise, on one screen.

An exception means that the caller cannot go on with what it holds. A "no" that the specification
foresees (an event that is not authorised, a signature that does not verify) is a value instead:
see `federation.decision`.
"""


class FederationError(Exception):
    """The common ancestor; catching it catches all of ours and nothing else."""


class IdentifierError(FederationError):
    """The text is not an identifier of the kind it should be."""


class CanonicalJSONError(FederationError):
    """The bytes are not JSON, or the value has no canonical form in this room version."""


class EventFormatError(FederationError):
    """The event does not comply with the event format of its room version."""


class EventSizeError(EventFormatError):
    """The event, or one of its named keys, is larger than the specification allows."""


class UnknownRoomVersionError(FederationError):
    """No room version of that name is known to the caller."""


class KeyFormatError(FederationError):
    """A signing key, a verify key or a server key document is malformed."""


class KeyStoreError(FederationError):
    """Where other servers' keys are kept is out of reach."""


class XMatrixError(FederationError):
    """The `Authorization` header is not a well-formed `X-Matrix` header."""


class StateResolutionError(FederationError):
    """The states handed in cannot belong to one room."""


class RequestError(FederationError):
    """A request to another server did not bring a usable answer."""


class DiscoveryError(RequestError):
    """The server's name leads nowhere."""


class AddressRefusedError(RequestError):
    """The address is in a range that outgoing requests may not reach."""


class TransportError(RequestError):
    """Connecting, TLS, or reading the answer failed, or took too long."""


class ConnectError(TransportError):
    """No connection came about, so nothing of the request was sent."""


class ResponseTooLargeError(RequestError):
    """The answer exceeds the limit that the caller set; it was not read to its end."""


class ResponseFormatError(RequestError):
    """The answer is not what the specification says it should be."""


class HttpError(RequestError):
    """The other server answered with a status other than 2xx."""

    def __init__(self, status: int, errcode: str, message: str, body: bytes = b"") -> None:
        super().__init__(f"{status} {errcode}: {message}")
        self.status = status
        self.errcode = errcode
        self.message = message
        self.body = body
