"""The keys of an installation, made at their first use: what signs its files, what encrypts own words, and its tag.

They lie in the folder of the settings, which nobody else may read: `authority.pem` and `signing.pem`, each a key with its
certificate, and `installation.json` with the tag and the symmetric key. Whoever has them can sign in this installation's name.
"""

import base64
import json
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipelines.folders import atomic
from pipelines.marks import certificates
from pipelines.marks.certificates import Certified, certificate_pem, certified_from_pem
from pipelines.settings import MarkSettings
from portrait.errors import OperatorError

AUTHORITY, SIGNING, INSTALLATION = "authority.pem", "signing.pem", "installation.json"
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Keys:
    """What marks are made with."""

    tag: int
    """16 bits that tell installations apart in invisible marks."""
    secret: bytes = field(repr=False)
    """Of AES-256, for own words in recipes."""
    chain: bytes
    """PEM: the certificate that signs, then those above it."""
    key: bytes = field(repr=False)
    """PEM: the private key of the first."""
    algorithm: str
    """C2PA's name of what the key signs with, such as `es256`."""
    anchors: bytes
    """PEM of whom this installation trusts as itself: its own authority, then the settings' chain where there is one; see
    `credentials.read`."""


def open_keys(settings: MarkSettings) -> Keys:
    """Return the keys of an installation, which are made where there are none yet.

    Raises `OperatorError`: `bad_signing_key` for keys or certificates that cannot be used, `no_permission`, `cannot_write`.
    """
    folder = settings.folder
    if not (folder / INSTALLATION).exists():
        _make(folder)
    authority, signing, tag, secret = _read(folder)
    anchors = certificate_pem(authority.certificate)
    if settings.certificate is not None or settings.key is not None:
        chain, key, algorithm = _given(settings)
        return Keys(tag, secret, chain, key, algorithm, anchors + chain)
    if signing.is_ending:
        signing = _renew(folder, authority, signing, tag)
    if signing.certificate.not_valid_after_utc <= certificates.now():
        sentence = (
            f"The certificate in {folder} has expired and could not be made anew. Let this program write that folder."
        )
        raise OperatorError("bad_signing_key", sentence)
    key = signing.to_pem().removesuffix(certificate_pem(signing.certificate))
    return Keys(tag, secret, certificate_pem(signing.certificate) + anchors, key, "es256", anchors)


def _read(folder: Path) -> tuple[Certified, Certified, int, bytes]:
    """Return the authority, what signs, the tag and the symmetric key; raises as `open_keys`."""
    with atomic.reported_reading(folder):
        try:
            authority = certified_from_pem((folder / AUTHORITY).read_bytes())
            signing = certified_from_pem((folder / SIGNING).read_bytes())
            values = json.loads((folder / INSTALLATION).read_bytes())
            tag, secret = int(values["tag"]) % (1 << 16), base64.b64decode(values["secret"], validate=True)
            AESGCM(secret)  # another length is refused here
        except PermissionError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            sentence = (
                f"The keys of marks in {folder} cannot be read. Put that folder back from a backup: "
                "without it, files that were made here count as strangers'."
            )
            raise OperatorError("bad_signing_key", sentence) from error
    return authority, signing, tag, secret


def _make(folder: Path) -> None:
    """Make the keys of an installation; where another process makes them at the same time, one of the two is taken."""
    tag = secrets.randbelow(1 << 16)
    authority = certificates.make_authority(f"Portrait authority {tag:04x}")
    signing = certificates.make_signing(authority, _signer_name(tag))
    secret = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    staged = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    with atomic.reported(f"The keys of marks in {folder} cannot be written"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged.mkdir()
        try:
            _make_private(staged)
            _write(staged / AUTHORITY, authority.to_pem())
            _write(staged / SIGNING, signing.to_pem())
            _write(staged / INSTALLATION, json.dumps({"tag": tag, "secret": secret}).encode())
            atomic.sync_tree(staged)
            staged.rename(folder)  # a folder takes the place of an empty one alone
            atomic.sync_folder(folder.parent)
        except OSError:
            # Another process was here before, or nobody can write here.
            if not (folder / INSTALLATION).exists():
                raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _renew(folder: Path, authority: Certified, signing: Certified, tag: int) -> Certified:
    """Make what signs anew below the same authority; the old one where the folder cannot be written or nothing is gained."""
    made = certificates.make_signing(authority, _signer_name(tag))
    if made.certificate.not_valid_after_utc <= signing.certificate.not_valid_after_utc:
        return signing
    place = folder / SIGNING
    staged = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        _write(staged, made.to_pem())
        staged.replace(place)
    except OSError:
        staged.unlink(missing_ok=True)
        return signing
    return made


def _signer_name(tag: int) -> str:
    return f"Portrait installation {tag:04x}"


def _write(path: Path, content: bytes) -> None:
    """Write a file that nobody but the installation may read; raises `OSError`."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(number, "wb") as file:
        _make_private(path)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _make_private(path: Path) -> None:
    """Take what the group may do where the umask left something to everybody: a group of the settings excludes others."""
    mode = path.stat().st_mode
    if mode & 0o007:
        path.chmod(mode & 0o700)


def _given(settings: MarkSettings) -> tuple[bytes, bytes, str]:
    """Return the chain, the private key and its algorithm that the settings name; raises `bad_signing_key`."""
    if settings.certificate is None or settings.key is None:
        sentence = (
            "Set marks.certificate and marks.key together: the certificate with those above it, and its private key."
        )
        raise OperatorError("bad_signing_key", sentence)
    try:
        chain, key = settings.certificate.read_bytes(), settings.key.read_bytes()
        first, *above = x509.load_pem_x509_certificates(chain)
        private = serialization.load_pem_private_key(key, None)
        algorithm = certificates.algorithm_of(private)
    except OSError as error:
        sentence = f"{error.filename} cannot be read: {error.strerror}. Check marks.certificate and marks.key."
        raise OperatorError("bad_signing_key", sentence) from error
    except (ValueError, TypeError) as error:
        sentence = (
            f"marks.certificate and marks.key cannot be used: {error}. Give PEM files, the key without a password."
        )
        raise OperatorError("bad_signing_key", sentence) from error
    if not above:
        sentence = (
            f"{settings.certificate} holds one certificate alone. Add those above it, down from the one that signed it."
        )
        raise OperatorError("bad_signing_key", sentence)
    if private.public_key() != first.public_key():
        sentence = "marks.key is not the private key of the first certificate in marks.certificate."
        raise OperatorError("bad_signing_key", sentence)
    if not first.not_valid_before_utc <= certificates.now() <= first.not_valid_after_utc:
        sentence = (
            f"The certificate in {settings.certificate} is not valid now. Renew it, or leave marks.certificate out."
        )
        raise OperatorError("bad_signing_key", sentence)
    return chain, key, algorithm
