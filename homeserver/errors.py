# ruff: noqa: N818 - these go by the names of their error codes
"""Everything `homeserver` can raise, on one screen."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple


class HearthError(Exception):
    """The common ancestor; catching it catches all of ours and nothing else."""


class Problem(NamedTuple):
    """One setting that cannot be used; texts for the administrator, without secrets."""

    path: str
    """Where in the settings, as `listeners[0].port`; empty where it is the whole file."""
    reason: str
    found: str | None = None
    """What stands there instead."""
    where: str | None = None
    """The line or variable that says so."""
    example: str | None = None
    """YAML that would be right."""

    def __str__(self) -> str:
        said = f"{self.path}: {self.reason}" if self.path else self.reason
        found = f"; found {self.found}" if self.found else ""
        origin = f" ({self.where})" if self.where else ""
        example = f"\n    for example: {self.example}" if self.example else ""
        return f"{said}{found}{origin}{example}"


class ConfigError(HearthError):
    """The settings cannot be used; the text tells all that is wrong with them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class MatrixError(HearthError):
    """A "no" that is told to whoever asked; the texts hold nothing that they did not send.

    Further arguments become keys of the answer beside `errcode` and `error`.
    https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
    """

    status: int = 400
    errcode: str = "M_UNKNOWN"
    says: ClassVar[str] = "the request cannot be answered"
    """What is said where the one who raises it has nothing to add."""

    def __init__(self, message: str = "", /, **extra: object) -> None:
        super().__init__(message or self.says)
        self.extra = extra
        self.headers: Mapping[str, str] = {}

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self.args[0])


class Unrecognized(MatrixError):
    """There is no such endpoint."""

    status, errcode, says = 404, "M_UNRECOGNIZED", "no such endpoint"


class MethodNotAllowed(Unrecognized):
    """There is such an endpoint, for other methods."""

    status, says = 405, "this endpoint has no such method"


class NotJson(MatrixError):
    """The body is not JSON, or not UTF-8."""

    errcode, says = "M_NOT_JSON", "the body is not JSON"


class BadJson(MatrixError):
    """JSON, but not of the form that was asked for."""

    errcode, says = "M_BAD_JSON", "the JSON is not of the form it should have"


class ServerManaged(BadJson):
    """Only the server writes account data of this type."""

    status, says = 405, "this is written by the server"


class MissingParam(MatrixError):
    """Something that must be given is not."""

    errcode, says = "M_MISSING_PARAM", "a parameter is missing"


class DuplicateAnnotation(MatrixError):
    """The sender has annotated the event in this way already."""

    errcode = "M_DUPLICATE_ANNOTATION"
    says = "you have annotated the event in this way already"


class InvalidParam(MatrixError):
    """Something is given that cannot be."""

    errcode, says = "M_INVALID_PARAM", "a parameter has an impossible value"


class TooLarge(MatrixError):
    """More than is taken."""

    status, errcode, says = 413, "M_TOO_LARGE", "the request is too large"


class HeaderTooLarge(TooLarge):
    """The first line of a request, or one of its headers, is too long."""

    status, says = 431, "the path or a header is too long"


class KeyTooLarge(MatrixError):
    """The name of a profile's field is too long."""

    errcode, says = "M_KEY_TOO_LARGE", "the name is too long"


class ProfileTooLarge(MatrixError):
    """The profile would become too large."""

    errcode, says = "M_PROFILE_TOO_LARGE", "the profile would become too large"


class MissingToken(MatrixError):
    """The endpoint is for those who are logged in, and no access token was given."""

    status, errcode, says = 401, "M_MISSING_TOKEN", "an access token is needed"


class UnknownToken(MatrixError):
    """The token is nobody's, or not any more; `soft_logout=True` where the device lives on."""

    status, errcode, says = 401, "M_UNKNOWN_TOKEN", "unknown access token"


class UserLocked(MatrixError):
    """https://spec.matrix.org/v1.19/client-server-api/#account-locking"""

    status, errcode, says = 401, "M_USER_LOCKED", "this account has been locked"

    def __init__(self, message: str = "", /) -> None:
        super().__init__(message, soft_logout=True)


class UserSuspended(MatrixError):
    """https://spec.matrix.org/v1.19/client-server-api/#account-suspension"""

    status, errcode, says = 403, "M_USER_SUSPENDED", "this account has been suspended"


class ResourceLimitExceeded(MatrixError):
    """https://spec.matrix.org/v1.19/client-server-api/#common-error-codes"""

    status, errcode, says = 403, "M_RESOURCE_LIMIT_EXCEEDED", "the server has reached a limit"


class UserDeactivated(MatrixError):
    """The account has ended."""

    status, errcode, says = 403, "M_USER_DEACTIVATED", "this account has been deactivated"


class Forbidden(MatrixError):
    """The caller is known, and may not do this; or could not prove to be somebody who may."""

    status, errcode, says = 403, "M_FORBIDDEN", "this is not allowed"


class CannotLeaveNotices(Forbidden):
    """https://spec.matrix.org/v1.19/client-server-api/#server-notices"""

    errcode = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"
    says = "this invitation of the server cannot be rejected"


class GuestAccessForbidden(Forbidden):
    """Guests may not do this."""

    errcode, says = "M_GUEST_ACCESS_FORBIDDEN", "guests may not do this"


class InviteBlocked(Forbidden):
    """The one who is invited does not want it."""

    errcode, says = "M_INVITE_BLOCKED", "the user does not want to be invited"


class Unauthorized(MatrixError):
    """Another server could not prove who it is."""

    status, errcode, says = 401, "M_UNAUTHORIZED", "the signature does not prove who asks"


class NotFound(MatrixError):
    """There is no such thing, or none that the caller may know of."""

    status, errcode, says = 404, "M_NOT_FOUND", "not found"


class UnredactedContentDeleted(MatrixError):
    """It is not kept any more what a redacted event said (MSC2815)."""

    status, errcode = 404, "FI.MAU.MSC2815_UNREDACTED_CONTENT_DELETED"
    says = "what this event said was deleted"


class UnknownLogin(MatrixError):
    """There is no such way to log in."""

    errcode, says = "M_UNKNOWN", "no such way to log in"


class NotYetUploaded(MatrixError):
    """The file was announced, and did not come in time."""

    status, errcode, says = 504, "M_NOT_YET_UPLOADED", "the file is not there yet"


class CannotOverwriteMedia(MatrixError):
    """A file is never replaced by another one."""

    status, errcode, says = 409, "M_CANNOT_OVERWRITE_MEDIA", "this file is there already"


class UnknownDevice(MatrixError):
    """An application service wants to act as a device that there is not."""

    errcode, says = "M_UNKNOWN_DEVICE", "the user has no such device"


class UrlNotSet(MatrixError):
    """The application service takes no requests."""

    errcode, says = "M_URL_NOT_SET", "the application service has no URL"


class BadStatus(MatrixError):
    """The application service answered something else than that all is well."""

    status, errcode, says = 502, "M_BAD_STATUS", "the application service refuses"


class ConnectionFailed(MatrixError):
    """The application service cannot be reached."""

    status, errcode, says = 502, "M_CONNECTION_FAILED", "the application service cannot be reached"


class ConnectionTimeout(MatrixError):
    """The application service does not answer."""

    status, errcode, says = 504, "M_CONNECTION_TIMEOUT", "the application service does not answer"


class InvalidSignature(MatrixError):
    """A key is not signed as it has to be."""

    errcode, says = "M_INVALID_SIGNATURE", "the signature is not valid"


class UnknownPos(MatrixError):
    """A position of sliding sync that is unknown, or not any more: the client has to begin anew."""

    errcode, says = "M_UNKNOWN_POS", "this position is not known"


class WrongRoomKeysVersion(MatrixError):
    """Keys for a backup that is not the current one."""

    status, errcode = 403, "M_WRONG_ROOM_KEYS_VERSION"
    says = "this is not the current version of the backup"


class BadAlias(MatrixError):
    """A canonical alias that does not lead to its room."""

    errcode, says = "M_BAD_ALIAS", "the alias does not lead to the room"


class RoomInUse(MatrixError):
    """The alias for a new room is another one's."""

    errcode, says = "M_ROOM_IN_USE", "the alias is taken"


class InvalidRoomState(MatrixError):
    """What a new room is to begin with cannot be."""

    errcode, says = "M_INVALID_ROOM_STATE", "a room cannot begin like this"


class UnsupportedRoomVersion(MatrixError):
    """No such room version, or none that we speak."""

    errcode, says = "M_UNSUPPORTED_ROOM_VERSION", "this room version is not supported"


class IncompatibleRoomVersion(MatrixError):
    """A room of a version that the asking server does not speak."""

    errcode, says = "M_INCOMPATIBLE_ROOM_VERSION", "the room is of another version"


class UnableToAuthorise(MatrixError):
    """This server cannot tell whether somebody may join; another one may."""

    errcode, says = "M_UNABLE_TO_AUTHORISE_JOIN", "this server cannot let the user in"


class UnableToGrant(MatrixError):
    """Nobody of this server has the power to let somebody in; another server may have."""

    errcode, says = "M_UNABLE_TO_GRANT_JOIN", "nobody of this server may let the user in"


class Conflict(MatrixError):
    """It is there already."""

    status, errcode, says = 409, "M_UNKNOWN", "it is there already"


class ServerNotTrusted(MatrixError):
    """An identity server that the settings do not name."""

    errcode, says = "M_SERVER_NOT_TRUSTED", "this identity server is not asked for anything here"


class IdentityServerError(MatrixError):
    """What an identity server says is wrong, as it says it."""

    def __init__(self, status: int, errcode: str, message: str) -> None:
        super().__init__(message or "the identity server refuses")
        self.status, self.errcode = status, errcode


class MediumNotSupported(MatrixError):
    """Addresses of this kind are not dealt with."""

    errcode, says = "M_THREEPID_MEDIUM_NOT_SUPPORTED", "addresses of this kind are not known here"


class ThreepidInUse(MatrixError):
    """The address is an account's already."""

    errcode, says = "M_THREEPID_IN_USE", "this address belongs to an account already"


class ThreepidNotFound(MatrixError):
    """The address is no account's."""

    errcode, says = "M_THREEPID_NOT_FOUND", "this address belongs to no account here"


class ThreepidAuthFailed(MatrixError):
    """It was not shown that the address is theirs."""

    status, errcode = 403, "M_THREEPID_AUTH_FAILED"
    says = "the address was not confirmed, or too long ago"


class BadGateway(MatrixError):
    """Another server that had to be asked did not answer, or not as it should."""

    status, says = 502, "the other server cannot be reached"


class NotInThread(MatrixError):
    """An event that is not in the thread for which it stands."""

    errcode = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD"
    says = "the event is not in this thread"


class ConflictingUnsubscription(MatrixError):
    """A client follows a thread of itself that the user has given up since."""

    status, errcode = 409, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"
    says = "the user gave the thread up after that event"


class UserInUse(MatrixError):
    """Somebody has this name."""

    errcode, says = "M_USER_IN_USE", "the name is taken"


class InvalidUsername(MatrixError):
    """Nobody can have this name."""

    errcode, says = "M_INVALID_USERNAME", "not a possible name"


class Exclusive(MatrixError):
    """An application service has it for itself."""

    errcode, says = "M_EXCLUSIVE", "an application service has reserved this"


class WeakPassword(MatrixError):
    """https://spec.matrix.org/v1.19/client-server-api/#password-management"""

    errcode, says = "M_WEAK_PASSWORD", "the password is too weak"


class LimitExceeded(MatrixError):
    """https://spec.matrix.org/v1.19/client-server-api/#rate-limiting"""

    status, errcode, says = 429, "M_LIMIT_EXCEEDED", "too many requests"

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(retry_after_ms=retry_after_ms)
        self.headers = {"Retry-After": str(-(-retry_after_ms // 1000))}


class TooSlow(MatrixError):
    """The request came in too slowly."""

    status, says = 408, "the request took too long to arrive"


class TimedOut(MatrixError):
    """It took longer than it may; what it waits for is not ours."""

    status, says = 504, "this took too long"
