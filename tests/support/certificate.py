"""A certificate for a host of loopback, signed by itself."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


class Certificate(msgspec.Struct, frozen=True):
    """Certificate and key, as PEM."""

    certificate: bytes
    key: bytes

    def save(self, directory: Path) -> tuple[Path, Path]:
        """Write both; return where they are."""
        paths = directory / "cert.pem", directory / "key.pem"
        for path, octets in zip(paths, (self.certificate, self.key), strict=True):
            path.write_bytes(octets)
            path.chmod(0o600)
        return paths


def make_certificate(name: str, *, elliptic: bool = False) -> Certificate:
    """Make one for a host name, with a key of RSA or of an elliptic curve."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if elliptic:
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
