"""Content credentials, read by the library that everybody reads them with."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import PIL.Image
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipelines.marks import certificates, credentials
from pipelines.marks.certificates import Certified, certificate_pem, make_signing
from pipelines.marks.manifest import RECIPE, Manifest, Parent
from pipelines.marks.marks import Marks, open_marks
from pipelines.settings import MarkSettings
from portrait.errors import OperatorError
from tests.fakes import picture

KINDS = pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])


def file(name: str = "JPEG", **options: Any) -> bytes:
    content = io.BytesIO()
    PIL.Image.fromarray(picture(1, 1)).save(content, name, **options)
    return content.getvalue()


def library_report(content: bytes, mime: str, anchors: bytes | None = None) -> dict[str, Any]:
    """What the library itself says, without anything of ours."""
    trust = {"trust": {"user_anchors": anchors.decode()}} if anchors else {}
    context = c2pa.Context.from_dict({"version": 1, "verify": {"remote_manifest_fetch": False}, **trust})
    return json.loads(c2pa.Reader(mime, io.BytesIO(content), context=context).json())


@KINDS
def test_signed_files_are_valid_and_pixels_stay(marks: Marks, name: str) -> None:
    mime, plain = credentials.MIMES[name], file(name)
    signed = marks.sign(plain, mime, Manifest("compositeSynthetic", (), {"seed": 1}, 7))
    report = library_report(signed, mime, marks.keys.anchors)
    assert report["validation_state"] == "Trusted"
    manifest = report["manifests"][report["active_manifest"]]
    assert {each["label"] for each in manifest["assertions"]} == {"c2pa.actions.v2", "org.portrait.recipe"}
    assert "thumbnail" not in json.dumps(manifest)
    assert "title" not in manifest
    assert library_report(signed, mime)["validation_state"] == "Valid", "for strangers the signer is unknown"
    before, after = (np.asarray(PIL.Image.open(io.BytesIO(each)).convert("RGB")) for each in (plain, signed))
    assert np.array_equal(before, after)
    assert len(signed) - len(plain) < 4_000


@KINDS
def test_other_installations_are_strangers(marks: Marks, tmp_path: Path, name: str) -> None:
    mime, other = credentials.MIMES[name], open_marks(MarkSettings(tmp_path / "other"))
    signed = other.sign(file(name), mime, Manifest("compositeSynthetic"))
    found = credentials.read(signed, mime, marks.keys.anchors)
    assert found is not None
    assert (found.trusted, found.valid, found.altered) == (False, True, False)
    assert found.signer == f"Portrait installation {other.keys.tag:04x}"
    assert found.generator.startswith("Portrait ")


@KINDS
def test_a_file_that_was_altered_is_told(marks: Marks, name: str) -> None:
    mime = credentials.MIMES[name]
    signed = bytearray(marks.sign(file(name), mime, Manifest("compositeSynthetic")))
    signed[len(signed) // 2 if name == "WEBP" else -100] ^= 1
    found = credentials.read(bytes(signed), mime, marks.keys.anchors)
    assert found is not None
    assert (found.valid, found.altered) == (False, True)


def test_files_without_and_with_broken_credentials(marks: Marks) -> None:
    assert credentials.read(file(), "image/jpeg") is None
    assert credentials.read(b"", "image/jpeg") is None
    assert credentials.read(b"no picture", "image/png") is None
    assert credentials.read(file(), "image/unknown") is None
    signed = marks.sign(file(), "image/jpeg", Manifest("compositeSynthetic"))
    at = signed.index(b"compositeSynthetic")
    broken = signed.replace(signed[at : at + 18], b"xompositeSynthetic")
    found = credentials.read(broken, "image/jpeg", marks.keys.anchors)
    assert found is not None
    assert not found.valid
    at = signed.index(b"c2cl")
    cut = signed[: at + 20] + bytes(200) + signed[at + 220 :]
    found = credentials.read(cut, "image/jpeg", marks.keys.anchors)
    assert found is None or not found.valid


@pytest.mark.parametrize(
    "data", [7, "words", [1], {"actions": 3, "recipe": "none"}, {"actions": [4, {"action": "c2pa.edited"}]}]
)
def test_assertions_that_hold_something_else_than_they_should_say_nothing(data: Any) -> None:
    assertions = [{"label": label, "data": data} for label in ("c2pa.actions.v2", RECIPE)]
    store = {"active_manifest": "one", "manifests": {"one": {"assertions": assertions}}}
    found = credentials._from_store(store, "")
    assert (found.recipe, found.portrait, found.trusted) == (None, None, False)
    assert set(found.actions) <= {"c2pa.edited"}


def test_what_was_made_of_what(marks: Marks) -> None:
    first = marks.sign(file(), "image/jpeg", Manifest("compositeSynthetic", (), {"seed": 1}, 0x1234ABCD))
    taken = marks.sign(file("PNG"), "image/png", Manifest("", ("c2pa.transcoded",), parent=Parent(first, "image/jpeg")))
    found = credentials.read(taken, "image/png", marks.keys.anchors)
    assert found is not None
    assert (found.trusted, found.faults) == (True, ())
    assert found.actions == ("c2pa.transcoded", "c2pa.opened", "c2pa.created")
    assert (found.source_type, found.recipe, found.portrait) == ("compositeSynthetic", {"seed": 1}, 0x1234ABCD)
    report = library_report(taken, "image/png", marks.keys.anchors)
    (ingredient,) = report["manifests"][report["active_manifest"]]["ingredients"]
    assert ingredient["relationship"] == "parentOf"
    assert not {"title", "thumbnail"} & set(ingredient)
    assert report["manifests"][ingredient["active_manifest"]]["signature_info"]["issuer"] == "Portrait"
    # A parent that carries nothing is an ingredient all the same.
    plain = marks.sign(file("PNG"), "image/png", Manifest("", ("c2pa.resized",), parent=Parent(file(), "image/jpeg")))
    found = credentials.read(plain, "image/png", marks.keys.anchors)
    assert found is not None
    assert (found.trusted, found.faults, found.source_type, found.recipe) == (True, (), "", None)


def intermediate() -> tuple[bytes, Certified]:
    """The certificate of a public authority, and an authority below it that certifies studios."""
    made = []
    for name, issuer in (("Public root", None), ("Public authority", 0)):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        signer = key if issuer is None else made[0].key
        above = subject if issuer is None else made[0].certificate.subject
        like = certificates.make_authority(name).certificate
        started, ends = like.not_valid_before_utc, like.not_valid_after_utc
        builder = x509.CertificateBuilder(above, subject, key.public_key(), x509.random_serial_number(), started, ends)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = like.extensions.get_extension_for_class(x509.KeyUsage).value
        builder = builder.add_extension(usage, critical=True)
        own, other = key.public_key(), signer.public_key()
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(other), critical=False)
        made.append(Certified(key, builder.sign(signer, hashes.SHA256())))
    return certificate_pem(made[0].certificate), made[1]


def with_certificate(folder: Path, signing: Certified, above: bytes) -> Marks:
    folder.mkdir()
    (folder / "chain.pem").write_bytes(certificate_pem(signing.certificate) + above)
    secret = signing.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(secret)
    return open_marks(MarkSettings(folder / "marks", certificate=folder / "chain.pem", key=folder / "key.pem"))


@pytest.mark.parametrize("with_root", [False, True])
def test_a_certificate_of_the_settings_is_ours_and_its_neighbours_are_not(tmp_path: Path, with_root: bool) -> None:
    root, authority = intermediate()
    above = certificate_pem(authority.certificate) + (root if with_root else b"")
    ours = with_certificate(tmp_path / "ours", make_signing(authority, "Our studio"), above)
    others = with_certificate(tmp_path / "others", make_signing(authority, "Another studio"), above)
    for made, trusted, signer in ((ours, True, "Our studio"), (others, False, "Another studio")):
        signed = made.sign(file(), "image/jpeg", Manifest("compositeSynthetic"))
        found = credentials.read(signed, "image/jpeg", ours.keys.anchors)
        assert found is not None
        assert (found.trusted, found.faults, found.signer) == (trusted, (), signer)
        assert library_report(signed, "image/jpeg", root)["validation_state"] == "Trusted"
    before = open_marks(MarkSettings(tmp_path / "ours" / "marks"))
    signed = before.sign(file(), "image/jpeg", Manifest("compositeSynthetic"))
    found = credentials.read(signed, "image/jpeg", ours.keys.anchors)
    assert found is not None
    assert found.trusted, "what was signed before that certificate stays ours"


def test_a_failure_to_sign_is_told(marks: Marks) -> None:
    with pytest.raises(OperatorError, match="could not be signed") as caught:
        credentials.sign(file(), "image/jpeg", Manifest("compositeSynthetic"), replace(marks.keys, key=b"no key"))
    assert caught.value.code == "cannot_sign"
    with pytest.raises(OperatorError) as caught:
        credentials.sign(b"no picture", "image/jpeg", Manifest("compositeSynthetic"), marks.keys)
    assert caught.value.code == "cannot_sign"
