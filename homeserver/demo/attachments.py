"""Encrypted files.

https://spec.matrix.org/v1.19/client-server-api/#sending-encrypted-attachments
"""

import base64
import hashlib
import secrets
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from federation.signing import encode_base64, encode_base64_url


def encrypt(plain: bytes) -> tuple[bytes, dict[str, Any]]:
    """The bytes to upload, and the `EncryptedFile` to which the URL is to be added."""
    key = secrets.token_bytes(32)
    counter = secrets.token_bytes(8) + bytes(8)
    encrypted = _apply(key, counter, plain)
    return encrypted, {
        "v": "v2",
        "key": {
            "kty": "oct",
            "alg": "A256CTR",
            "ext": True,
            "key_ops": ["encrypt", "decrypt"],
            "k": encode_base64_url(key),
        },
        "iv": encode_base64(counter),
        "hashes": {"sha256": encode_base64(hashlib.sha256(encrypted).digest())},
    }


def decrypt(encrypted: bytes, file: dict[str, Any]) -> bytes:
    """The file, or raise `ValueError` if it is not the one that was meant."""
    if encode_base64(hashlib.sha256(encrypted).digest()) != file["hashes"]["sha256"]:
        raise ValueError("the file is not what the message says")
    key = base64.urlsafe_b64decode(file["key"]["k"] + "==")
    return _apply(key, base64.b64decode(file["iv"] + "=="), encrypted)


def _apply(key: bytes, counter: bytes, data: bytes) -> bytes:
    context = Cipher(AES(key), CTR(counter)).encryptor()
    return context.update(data) + context.finalize()
