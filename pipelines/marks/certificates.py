"""Certificates of an installation's own: an authority, and below it what signs, as C2PA asks of them.

Without a time stamp from outside, a signature holds as long as the certificate that made it: both are long-lived.
"""

import datetime
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_YEARS, SIGNING_YEARS = 40, 20
RENEWED_YEARS = 10
"""Years before its end in which a signing certificate is made anew: a portrait's signature holds at least so long."""
SKEW = datetime.timedelta(hours=1)
"""How much earlier than now a certificate begins: clocks of readers differ."""
_YEAR = datetime.timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Certified:
    """A private key and its certificate."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate

    def to_pem(self) -> bytes:
        """The key and the certificate in one file, so that one renaming replaces both."""
        pkcs8, nothing = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, pkcs8, nothing) + certificate_pem(self.certificate)

    @property
    def is_ending(self) -> bool:
        """Whether a signing certificate is to be made anew."""
        return self.certificate.not_valid_after_utc - now() < RENEWED_YEARS * _YEAR


def certified_from_pem(content: bytes) -> Certified:
    """Read what `to_pem` gave; raises `ValueError`."""
    key = serialization.load_pem_private_key(content, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("no key of an elliptic curve")  # noqa: TRY004 -- what the file holds is wrong, not its type
    return Certified(key, x509.load_pem_x509_certificate(content))


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def now() -> datetime.datetime:
    """Return the time, with its zone."""
    return datetime.datetime.now(datetime.UTC)


def make_authority(name: str) -> Certified:
    """Make a certificate authority that may sign certificates of what signs, and no authorities below it."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _certify(key, name, None, AUTHORITY_YEARS)


def make_signing(authority: Certified, name: str) -> Certified:
    """Make a key that signs files, with a certificate below an authority; it ends with the authority at the latest."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _certify(key, name, authority, SIGNING_YEARS)


def algorithm_of(key: object) -> str:
    """Return C2PA's name of the algorithm that a private key signs with; raises `ValueError` for one that it does not know."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        found = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}.get(key.curve.name)
        if found is not None:
            return found
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise ValueError(
        "a key that C2PA does not sign with: take one of P-256, P-384, P-521, Ed25519 or RSA from 2048 bits"
    )


def _certify(key: ec.EllipticCurvePrivateKey, name: str, authority: Certified | None, years: int) -> Certified:
    """Make the certificate of a key, by an authority or, without one, by itself."""
    is_authority, started = authority is None, now() - SKEW
    common = [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Portrait")]
    subject, ends = x509.Name(common), started + years * _YEAR
    issuer, signer = (subject, key) if authority is None else (authority.certificate.subject, authority.key)
    if authority is not None:
        ends = min(ends, authority.certificate.not_valid_after_utc)
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), started, ends)
        .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return Certified(key, builder.sign(signer, hashes.SHA256()))
