"""The file of the key that proves to other servers who we are, and that of its predecessors.

One line: algorithm, version and unpadded base64 seed, as other homeservers write theirs. Beside it,
with `.old` at the end, a line for each key that was in use before: its ID, its public half, and
when it signed for the last time, in milliseconds.
"""

import os
import secrets
import string
from pathlib import Path

from federation.errors import FederationError
from federation.identifiers import parse_key_id
from federation.server_keys import OldKey
from federation.signing import SigningKey, decode_base64, decode_verify_key, encode_base64
from homeserver.errors import HearthError

_SEED_BYTES = 32


class SigningKeyError(HearthError):
    """The key's file cannot be used; the text says what to do."""


def load_or_make(file: Path) -> SigningKey:
    """The key in the file; it is made, readable by its owner only, if there is none.

    Raises:
        SigningKeyError: there is something else in the file.
        OSError: it cannot be read or made.

    """
    if not file.exists():
        _make(file)
    try:
        algorithm, version, seed = file.read_text(encoding="ascii").split()
        return SigningKey.from_seed(f"{algorithm}:{version}", decode_base64(seed))
    except (ValueError, FederationError) as error:
        raise SigningKeyError(
            f"{file} holds no signing key: it should be one line as `ed25519 a_AbCd <seed>`. "
            "Restore it from a copy; only if there never was one, remove the file"
        ) from error


def load_old(file: Path) -> tuple[OldKey, ...]:
    """The keys that were in use before the one in the file.

    Raises:
        SigningKeyError: there is something else beside it.
        OSError: it cannot be read.

    """
    old = _old_file(file)
    lines = old.read_text(encoding="ascii").splitlines() if old.exists() else []
    try:
        return tuple(_old_key(line) for line in lines if line.strip())
    except (ValueError, FederationError) as error:
        raise SigningKeyError(
            f"{old} holds more than old keys: each line should be as `ed25519:a_AbCd <public key> "
            "<milliseconds>`. Restore it from a copy"
        ) from error


def rotate(file: Path, now: int) -> SigningKey:
    """Put a new key in place of the one in the file, which is kept as an old one.

    Nobody may sign with the old one any more: the server must not run.

    Args:
        file: of the key.
        now: the time, in milliseconds since the epoch.

    Raises:
        SigningKeyError: there is something else in the file.
        OSError: it cannot be read or written.

    """
    gone = load_or_make(file)
    # First what it was: should we end here, the key is known as an old one too early, and no more.
    kept = [key for key in load_old(file) if key.key_id != gone.key_id]
    lines = [*map(_line_of, kept), f"{gone.key_id} {encode_base64(gone.verify_key)} {now}\n"]
    _written(_old_file(file), "".join(lines)).replace(_old_file(file))
    _written(file, _new_line()).replace(file)
    return load_or_make(file)


def _old_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.old")


def _old_key(line: str) -> OldKey:
    key_id, key, expired = line.split()
    return OldKey(parse_key_id(key_id), decode_verify_key(key), int(expired))


def _line_of(key: OldKey) -> str:
    return f"{key.key_id} {encode_base64(key.key)} {key.expired_ts}\n"


def _new_line() -> str:
    version = "a_" + "".join(secrets.choice(string.ascii_letters) for _ in range(4))
    return f"ed25519 {version} {encode_base64(secrets.token_bytes(_SEED_BYTES))}\n"


def _make(file: Path) -> None:
    """Write a new key; never half of one, and never over another one."""
    half = _written(file, _new_line())
    try:
        os.link(half, file)
    except FileExistsError:
        pass  # somebody was quicker; theirs it is
    finally:
        half.unlink()


def _written(file: Path, text: str) -> Path:
    """A file beside this one with the text, on the disk."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as writing:
        writing.write(text)
        writing.flush()
        os.fsync(writing.fileno())
    return half
