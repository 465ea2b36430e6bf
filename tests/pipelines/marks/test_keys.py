import datetime
import multiprocessing
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from pipelines.marks import certificates, keys
from pipelines.marks.certificates import certificate_pem, make_authority, make_signing
from pipelines.marks.keys import open_keys
from pipelines.settings import MarkSettings
from portrait.errors import OperatorError

SPAWN = multiprocessing.get_context("spawn")


def test_keys_are_made_once_and_nobody_else_may_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "marks"
    made = open_keys(MarkSettings(folder))
    assert open_keys(MarkSettings(folder)) == made
    assert 0 <= made.tag < 1 << 16
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == dict.fromkeys(
        ("authority.pem", "signing.pem", "installation.json"), 0o600
    )
    assert [each.name for each in folder.parent.iterdir()] == ["marks"]
    assert open_keys(MarkSettings(tmp_path / "another")).secret != made.secret
    said = repr(made)
    assert str(made.secret) not in said
    assert "PRIVATE" not in said


def test_a_group_of_the_settings_may_read_them_too(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        open_keys(MarkSettings(tmp_path / "marks"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "marks").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "marks" / "signing.pem").stat().st_mode) == 0o640


def test_the_certificates_are_as_c2pa_asks(tmp_path: Path) -> None:
    made = open_keys(MarkSettings(tmp_path / "marks"))
    signing, authority = x509.load_pem_x509_certificates(made.chain)
    signing.verify_directly_issued_by(authority)
    authority.verify_directly_issued_by(authority)
    usage = signing.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    named = signing.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert named == authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert certificate_pem(authority) == made.anchors
    years = (signing.not_valid_after_utc - certificates.now()).days / 365
    assert years > certificates.RENEWED_YEARS, "a signature holds for years"


def _report(folder: Path, results: "multiprocessing.SimpleQueue[bytes]") -> None:
    results.put(open_keys(MarkSettings(folder)).secret)


def test_processes_that_start_at_once_get_the_same_keys(tmp_path: Path) -> None:
    results = SPAWN.SimpleQueue()
    started = [SPAWN.Process(target=_report, args=(tmp_path / "marks", results)) for _ in range(3)]
    for each in started:
        each.start()
    secrets = {results.get() for _ in started}
    for each in started:
        each.join()
    assert secrets == {open_keys(MarkSettings(tmp_path / "marks")).secret}
    assert [each.name for each in tmp_path.iterdir()] == ["marks"]


def test_who_comes_second_takes_the_keys_of_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "marks"
    first = open_keys(MarkSettings(folder))
    keys._make(folder)
    assert open_keys(MarkSettings(folder)) == first
    assert [each.name for each in tmp_path.iterdir()] == ["marks"]


def test_what_signs_is_made_anew_below_the_same_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, now = open_keys(MarkSettings(tmp_path)), certificates.now()
    years = certificates.SIGNING_YEARS - certificates.RENEWED_YEARS
    monkeypatch.setattr(certificates, "now", lambda: now + datetime.timedelta(days=365 * years + 1))
    later = open_keys(MarkSettings(tmp_path))
    assert later.key != first.key
    assert (later.anchors, later.tag, later.secret) == (first.anchors, first.tag, first.secret)
    assert open_keys(MarkSettings(tmp_path)) == later
    assert stat.S_IMODE((tmp_path / "signing.pem").stat().st_mode) == 0o600
    monkeypatch.setattr(certificates, "now", lambda: now + datetime.timedelta(days=365 * 41))
    with pytest.raises(OperatorError, match="expired") as caught:
        open_keys(MarkSettings(tmp_path))
    assert caught.value.code == "bad_signing_key"


@pytest.mark.parametrize("name", ["authority.pem", "signing.pem", "installation.json"])
@pytest.mark.parametrize("content", ["", "{}", "-----BEGIN PRIVATE KEY-----\n", None])
def test_damaged_keys_are_told_and_left_as_they_are(tmp_path: Path, name: str, content: str | None) -> None:
    open_keys(MarkSettings(tmp_path))
    if content is None:
        if name == "installation.json":
            pytest.skip("keys are there or not by this file")
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(OperatorError, match="backup") as caught:
        open_keys(MarkSettings(tmp_path))
    assert caught.value.code == "bad_signing_key"
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OperatorError, match="cannot be written") as caught:
        open_keys(MarkSettings(tmp_path / "file" / "marks"))
    assert caught.value.code == "cannot_write"
    # A folder with other things in it is nobody's to replace.
    (tmp_path / "marks").mkdir()
    (tmp_path / "marks" / "mine.txt").write_text("kept")
    with pytest.raises(OperatorError) as caught:
        open_keys(MarkSettings(tmp_path / "marks"))
    assert caught.value.code == "cannot_write"
    assert [each.name for each in (tmp_path / "marks").iterdir()] == ["mine.txt"]


def given(folder: Path) -> MarkSettings:
    """Settings with a certificate of somebody else's authority."""
    authority = make_authority("Some authority")
    signing = make_signing(authority, "A studio")
    folder.mkdir()
    (folder / "chain.pem").write_bytes(certificate_pem(signing.certificate) + certificate_pem(authority.certificate))
    (folder / "key.pem").write_bytes(signing.to_pem().partition(b"-----BEGIN CERT")[0])
    return MarkSettings(folder / "marks", certificate=folder / "chain.pem", key=folder / "key.pem")


def test_a_certificate_of_the_settings_takes_the_place_of_the_own(tmp_path: Path) -> None:
    settings = given(tmp_path / "given")
    own, made = open_keys(MarkSettings(settings.folder)), open_keys(settings)
    assert made.chain == (tmp_path / "given" / "chain.pem").read_bytes()
    assert (made.key, made.algorithm) == ((tmp_path / "given" / "key.pem").read_bytes(), "es256")
    assert (made.tag, made.secret) == (own.tag, own.secret)
    assert made.anchors == own.anchors + made.chain


def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, other = given(tmp_path / "given"), given(tmp_path / "other")
    chain, now = tmp_path / "given" / "chain.pem", certificates.now()
    alone = tmp_path / "alone.pem"
    alone.write_bytes(certificate_pem(x509.load_pem_x509_certificate(chain.read_bytes())))
    cases = {
        "together": replace(settings, key=None),
        "cannot be read": replace(settings, key=tmp_path / "nowhere.pem"),
        "PEM files": replace(settings, certificate=settings.key),
        "is not the private key": replace(settings, key=other.key),
        "those above it": replace(settings, certificate=alone),
    }
    for words, wrong in cases.items():
        with pytest.raises(OperatorError, match=words) as caught:
            open_keys(wrong)
        assert caught.value.code == "bad_signing_key"
    monkeypatch.setattr(certificates, "now", lambda: now + datetime.timedelta(days=365 * 21))
    with pytest.raises(OperatorError, match="not valid now"):
        open_keys(settings)


def test_keys_that_c2pa_signs_with_are_known() -> None:
    assert certificates.algorithm_of(ec.generate_private_key(ec.SECP384R1())) == "es384"
    assert certificates.algorithm_of(rsa.generate_private_key(65537, 2048)) == "ps256"
    for wrong in (ec.generate_private_key(ec.SECP256K1()), "no key"):
        with pytest.raises(ValueError, match="does not sign with"):
            certificates.algorithm_of(wrong)
