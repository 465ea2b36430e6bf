"""Content credentials (C2PA) of a file: signed and read with the library of the Content Authenticity Initiative, offline.

Nobody is asked over the network: no time stamp, no revocation list, no manifest that lies elsewhere. No thumbnails are stored.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509

from pipelines.marks.certificates import certificate_pem
from pipelines.marks.keys import Keys
from pipelines.marks.manifest import PARENT, RECIPE, Manifest
from portrait.errors import OperatorError

if TYPE_CHECKING:
    import c2pa

MIMES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
"""Media types by Pillow's names of the formats that are signed."""
SETTINGS: Mapping[str, Any] = {
    "version": 1,
    "verify": {"verify_after_sign": False, "verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {
        "thumbnail": {"enabled": False},
        "created_assertion_labels": ["c2pa.actions", RECIPE],
        "actions": {
            "auto_created_action": {"enabled": False},
            "auto_opened_action": {"enabled": False},
            "auto_placed_action": {"enabled": False},
        },
    },
}
TRUSTED, UNTRUSTED = "signingCredential.trusted", "signingCredential.untrusted"
GIVEN = "user_anchors"
"""By this the library tells certificates that it was given from any that it may bring: those never make a file ours."""
ALTERED = ("assertion.dataHash.mismatch", "assertion.boxesHash.mismatch", "assertion.bmffHash.mismatch")
"""Codes that say that the file is not the one that was signed."""
UNREADABLE = "manifest.unreadable"
"""The code, none of the standard's, of credentials that the library cannot make out."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the credentials of a file say, and whether they hold."""

    signer: str
    """Name in the certificate that signed; empty where it cannot be made out."""
    trusted: bool
    """Whether the certificate leads to one of the anchors."""
    faults: tuple[str, ...] = ()
    """The standard's codes of what does not hold; empty: valid, whoever signed."""
    source_type: str = ""
    """IPTC's digital source type without its vocabulary, of this file or of what it was made from; empty where none is told."""
    generator: str = ""
    """The program that made the claim, with its version."""
    actions: tuple[str, ...] = ()
    """What was done to the picture, such as `c2pa.created`, in this file and in those that it was made from, latest first."""
    recipe: Mapping[str, Any] | None = None
    """Our assertion: own words encrypted."""
    portrait: int | None = None
    """Short id of the portrait, as its invisible mark has it."""

    @property
    def valid(self) -> bool:
        """Whether everything holds but, perhaps, the trust in who signed."""
        return not self.faults

    @property
    def altered(self) -> bool:
        """Whether the file is not the one that was signed."""
        return any(fault in ALTERED for fault in self.faults)


def sign(data: bytes, mime: str, manifest: Manifest, keys: Keys) -> bytes:
    """Return a JPEG, PNG or WebP with signed credentials; pixels and other metadata stay as they are.

    Raises `OperatorError` (`cannot_sign`).
    """
    import c2pa

    info = c2pa.C2paSignerInfo(keys.algorithm.encode(), keys.chain, keys.key, None)
    signed = io.BytesIO()
    try:
        with (
            _context(keys.anchors) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(manifest.to_dict(), context) as builder,
        ):
            if manifest.parent is not None:
                ingredient = {"relationship": "parentOf", "label": PARENT}
                builder.add_ingredient(ingredient, manifest.parent.mime, io.BytesIO(manifest.parent.content))
            builder.sign(signer, mime, io.BytesIO(data), signed)
    except c2pa.C2paError as error:
        sentence = (
            f"The content credentials of a file could not be signed ({error}). Check marks.certificate and marks.key."
        )
        raise OperatorError("cannot_sign", sentence) from error
    return signed.getvalue()


def read(data: bytes, mime: str, anchors: bytes | None = None) -> Credentials | None:
    """Return what the credentials of a file say, of whatever program; None where it carries none.

    `anchors` are PEM certificates that are trusted: authorities, for whatever they certified. Those that come after a
    certificate that signs are trusted for that one alone: a public authority certifies others too.
    """
    import c2pa

    store = None
    try:
        for trusted, serial in _trusted(anchors):
            with _context(trusted) as context, c2pa.Reader(mime, io.BytesIO(data), context=context) as reader:
                store = json.loads(reader.json())
            found = _from_store(store, serial)
            if found.trusted:
                return found
    except (c2pa.C2paError, ValueError) as error:
        nothing = isinstance(error, _none_errors()) or b"c2pa" not in data
        return None if nothing else Credentials("", False, (UNREADABLE,))
    return None if store is None else _from_store(store, "nobody's")


def _none_errors() -> tuple[type[Exception], ...]:
    """The library's errors for files without credentials, of a format that has none, and whose credentials lie elsewhere."""
    import c2pa

    # The library sets them as attributes that it does not declare.
    names = ("ManifestNotFound", "NotSupported", "RemoteManifest")
    return tuple(getattr(c2pa.C2paError, name) for name in names)


def _trusted(anchors: bytes | None) -> list[tuple[bytes | None, str]]:
    """Return authorities with the serial number that they are trusted for, empty for all; first those for all."""
    certificates = x509.load_pem_x509_certificates(anchors) if anchors else []
    is_signing = [not _is_authority(each) for each in certificates]
    first = is_signing.index(True) if True in is_signing else len(certificates)
    found: list[tuple[bytes | None, str]] = [(b"".join(map(certificate_pem, certificates[:first])) or None, "")]
    if first < len(certificates):
        above = b"".join(map(certificate_pem, certificates[first + 1 :])) or None
        found.append((above, str(certificates[first].serial_number)))
    return found


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _context(anchors: bytes | None) -> "c2pa.Context":
    """The library's settings, with certificates that are trusted."""
    import c2pa

    return c2pa.Context.from_dict({**SETTINGS, **({"trust": {"user_anchors": anchors.decode()}} if anchors else {})})


def _from_store(store: Mapping[str, Any], serial: str) -> Credentials:
    """Read the library's report on a file; trust holds for a certificate of this serial number alone, unless it is empty."""
    manifests = store.get("manifests", {})
    active = manifests.get(store.get("active_manifest"), {})
    results = store.get("validation_results", {}).get("activeManifest", {})
    codes = [str(each.get("code")) for each in results.get("failure", ())]
    chain = _ancestry(active, manifests)
    actions = [action for each in chain for action in reversed(_actions_of(each))]
    kinds = [str(action["digitalSourceType"]) for action in actions if action.get("digitalSourceType")]
    ours = next((found for each in chain if (found := _assertion(each, RECIPE)) is not None), {})
    signature, generator = active.get("signature_info", {}), (active.get("claim_generator_info") or [{}])[0]
    portrait, recipe = str(ours.get("portrait", "")), ours.get("recipe")
    return Credentials(
        signer=str(signature.get("common_name") or signature.get("issuer") or ""),
        trusted=UNTRUSTED not in codes
        and any(
            each.get("code") == TRUSTED and GIVEN in str(each.get("explanation")) for each in results.get("success", ())
        )
        and serial in ("", str(signature.get("cert_serial_number"))),
        faults=tuple(dict.fromkeys(code for code in codes if code != UNTRUSTED)) if active else (UNREADABLE,),
        source_type=kinds[0].rsplit("/", 1)[-1] if kinds else "",
        generator=" ".join(str(generator[name]) for name in ("name", "version") if generator.get(name)),
        actions=tuple(str(action.get("action")) for action in actions),
        recipe=recipe if isinstance(recipe, Mapping) else None,
        portrait=int(portrait, 16) if len(portrait) == 8 and set(portrait) <= set("0123456789abcdef") else None,
    )


def _ancestry(active: Mapping[str, Any], manifests: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a manifest and those of the files that it was made from, parents alone, latest first."""
    chain = [active]
    while len(chain) <= len(manifests):
        parents = [each for each in chain[-1].get("ingredients", ()) if each.get("relationship") == "parentOf"]
        found = manifests.get(parents[0].get("active_manifest")) if parents else None
        if found is None:
            break
        chain.append(found)
    return chain


def _actions_of(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = _assertion(manifest, "c2pa.actions.v2") or _assertion(manifest, "c2pa.actions") or {}
    actions = found.get("actions")
    return [each for each in actions if isinstance(each, Mapping)] if isinstance(actions, list) else []


def _assertion(manifest: Mapping[str, Any], label: str) -> Mapping[str, Any] | None:
    """Return the data of an assertion by its label; None where it is none of names and values: a file may hold anything."""
    found = (each.get("data") for each in manifest.get("assertions", ()) if each.get("label") == label)
    return next((data for data in found if isinstance(data, Mapping)), None)
