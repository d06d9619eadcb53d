# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private RSA key: by the package `cryptography` if the system has it, else by dkimpy in pure Python."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import dkim.crypto

MIN_BITS, MAX_BITS = 1024, 4096
_MAX_FILE_BYTES = 65_536
# The object identifier rsaEncryption (RFC 8017 appendix C) with its NULL parameter, in DER.
_RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")


class KeyFileError(ValueError):
    """A key cannot be used; the text says which and why."""


@dataclass(frozen=True)
class SigningKey:
    """A key.

    Attributes:
        public: The public key in DER, as SubjectPublicKeyInfo.
        bits: Length of its modulus.
        sign: Returns the signature (RSASSA-PKCS1-v1_5 with SHA-256) of some bytes.
    """

    public: bytes
    bits: int
    sign: Callable[[bytes], bytes]


def load_key(path: Path) -> SigningKey:
    """Read a private key in PEM.

    Raises:
        KeyFileError: It cannot be read, or is no RSA key of 1024 to 4096 bits without a passphrase.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror or error}") from error
    try:
        numbers = dkim.crypto.parse_pem_private_key(text.replace(b"\r\n", b"\n"))
        public = _public_der(numbers["modulus"], numbers["publicExponent"])
    except Exception as error:
        # dkimpy raises many kinds of exceptions for what it cannot read.
        raise KeyFileError(f"{path}: not a private RSA key in PEM without a passphrase") from error
    bits = numbers["modulus"].bit_length()
    if not MIN_BITS <= bits <= MAX_BITS:
        raise KeyFileError(f"{path}: has {bits} bits; must have {MIN_BITS} to {MAX_BITS}")
    sign = _fast_signer(text) or _slow_signer(numbers)
    if not _verifies(numbers, sign):
        raise KeyFileError(f"{path}: damaged: its signatures are not valid")
    return SigningKey(public, bits, sign)


def _fast_signer(text: bytes) -> Callable[[bytes], bytes] | None:
    """Return a function that signs by OpenSSL, None without the package `cryptography`."""
    try:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

        key = load_pem_private_key(text, None)
    except Exception:
        # A package that is damaged or does not know this key must not stop signatures.
        return None
    if not isinstance(key, RSAPrivateKey):
        return None
    return lambda data: key.sign(data, PKCS1v15(), SHA256())


def _slow_signer(numbers: Mapping[str, int]) -> Callable[[bytes], bytes]:
    return lambda data: bytes(dkim.crypto.RSASSA_PKCS1_v1_5_sign(hashlib.sha256(data), numbers))


def _verifies(numbers: Mapping[str, int], sign: Callable[[bytes], bytes]) -> bool:
    try:
        signature = sign(b"test")
        return bool(dkim.crypto.RSASSA_PKCS1_v1_5_verify(hashlib.sha256(b"test"), signature, numbers))
    except Exception:
        # As above.
        return False


def _public_der(modulus: int, exponent: int) -> bytes:
    """Return a public key as SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7)."""
    key = _tlv(0x30, _integer(modulus) + _integer(exponent))
    return _tlv(0x30, _RSA_ENCRYPTION + _tlv(0x03, b"\0" + key))


def _integer(number: int) -> bytes:
    # With room for the sign.
    return _tlv(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes((tag, size)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + value
