"""The file of the key that proves to other servers who we are.

One line: algorithm, version and unpadded base64 seed, as other homeservers write theirs.
"""

import os
import secrets
import string
from pathlib import Path

from federation.errors import FederationError
from federation.signing import SigningKey, decode_base64, encode_base64
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


def _make(file: Path) -> None:
    """Write a new key; never half of one, and never over another one."""
    version = "a_" + "".join(secrets.choice(string.ascii_letters) for _ in range(4))
    line = f"ed25519 {version} {encode_base64(secrets.token_bytes(_SEED_BYTES))}\n"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as writing:
        writing.write(line)
        writing.flush()
        os.fsync(writing.fileno())
    try:
        os.link(half, file)
    except FileExistsError:
        pass  # somebody was quicker; theirs it is
    finally:
        half.unlink()
