"""Answers that are kept to be given again: only who sends the same idempotency key can read them.

An answer holds what a roster held, in its refused rows, and that is not to lie in the store. So it is sealed with the
idempotency key, of which the store keeps a digest only: to guess it is as hard as the client has made it.
"""

import secrets
import zlib
from collections.abc import Iterable, Iterator
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dropout_risk.errors import StoreError

_NONCE = 12
_PIECE = 65_536


def name_of(key: str) -> str:
    """Return under what an answer is kept that was asked for with `key`."""
    return sha256(f"name\0{key}".encode()).hexdigest()


def seal(pieces: Iterable[bytes], key: str) -> bytes:
    """Return an answer compressed, and so that it can be read with `key` only.

    Examples
    --------
    >>> sealed = seal([b"an ", b"answer"], "a key")
    >>> b"answer" in sealed, b"".join(unseal(sealed, "a key"))
    (False, b'an answer')
    """
    packer, nonce = zlib.compressobj(1), secrets.token_bytes(_NONCE)
    packed = b"".join([*map(packer.compress, pieces), packer.flush()])
    return nonce + _cipher(key).encrypt(nonce, packed, None)


def unseal(sealed: bytes, key: str) -> Iterator[bytes]:
    """Return the pieces of what was sealed with `key`.

    Raises
    ------
    StoreError
        If it was sealed with another one, or changed since.
    """
    try:
        packed = _cipher(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
    except (InvalidTag, ValueError):
        raise StoreError("The answer that was kept is damaged; send the roster again under a new key.") from None
    return _unpacked(packed)


def _unpacked(packed: bytes) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    for start in range(0, len(packed), _PIECE):
        yield unpacker.decompress(packed[start : start + _PIECE])
    yield unpacker.flush()


def _cipher(key: str) -> AESGCM:
    return AESGCM(sha256(f"seal\0{key}".encode()).digest())
