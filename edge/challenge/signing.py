"""Makes and reads the key that signs reports, and checks signatures. Only this file imports cryptography."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ReportError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

INSTALL = "reports are signed by the package cryptography: pip install 'linejudge[sign]'"


class Key:
    """A private key of Ed25519. `public` is its public key: 64 hex digits."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw().hex()

    def sign(self, data: bytes) -> str:
        """Return the signature of `data`: 128 hex digits."""
        return self._private.sign(data).hex()


def read_key(path: Path) -> Key:
    """Return the key in a file. Make the file, mode 0600, if there is none.

    Raise ReportError if the file is no key or others can read it, or if cryptography is not installed.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise ReportError(INSTALL) from error
    try:
        if not path.exists():
            pem = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(pem)
        if path.stat().st_mode & 0o077:
            raise ReportError(
                f"{path}: others can read the key that signs reports: chmod 600 it, or make a new one"
            )
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ReportError(
            f"{path}: cannot read or make the key that signs reports: {error.strerror}"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ReportError(f"{path}: not a private key without password in PEM: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ReportError(f"{path}: not a key of Ed25519: delete it, and a new one is made")
    return Key(private)


def is_signed_by(public: str, signature: str, data: bytes) -> bool:
    """Return whether `signature` is that of `data` by the public key. Both are in hex, in small letters.

    Raise ReportError if cryptography is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise ReportError(INSTALL) from error
    try:
        of, said = bytes.fromhex(public), bytes.fromhex(signature)
        Ed25519PublicKey.from_public_bytes(of).verify(said, data)
    except (ValueError, InvalidSignature):
        return False
    # There is one way to write them, so that no byte of a file can change.
    return of.hex() == public and said.hex() == signature
