"""The marks of what leaves an installation: in pixels, in XMP and signed; each by the settings."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image

from pipelines.marks import credentials, invisible, label, private_words, source_types, xmp
from pipelines.marks.keys import Keys, open_keys
from pipelines.marks.manifest import Manifest
from pipelines.settings import MarkSettings
from portrait.arrays import Image

TRIED_SIDE = 256
"""Pixels of the picture on which a label is tried out."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What an installation marks its files with."""

    settings: MarkSettings
    keys: Keys

    def finish(self, image: Image, portrait_id: str) -> Image:
        """Return the picture with the visible label and the invisible mark of a portrait, as the settings say.

        Raises `OperatorError` (`label_font`).
        """
        if self.settings.label:
            image = label.draw(image, self.settings.label)
        if self.settings.invisible:
            image = invisible.embed(image, invisible.Payload(self.keys.tag, invisible.short_id(portrait_id)))
        return image

    def sign(self, data: bytes, mime: str, manifest: Manifest) -> bytes:
        """Return a file with signed credentials; as it is where the settings leave them out. Raises `cannot_sign`."""
        return credentials.sign(data, mime, manifest, self.keys) if self.settings.credentials else data

    def packet(self, source: str, recipe: Mapping[str, Any] | None = None, portrait_id: str = "") -> bytes:
        """Return the XMP packet of a file, with the label `AIGC` where the settings ask for it; see `xmp.packet`."""
        return xmp.packet(source, recipe, self._aigc(portrait_id) if self.settings.aigc else None)

    def close(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """Return a recipe as files carry it: own words are encrypted."""
        return private_words.encrypt(recipe, self.keys.secret)

    def open(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """Return a file's recipe with its words; raises `UserError` (`recipe_sealed`)."""
        return private_words.decrypt(recipe, self.keys.secret)

    def _aigc(self, portrait_id: str) -> dict[str, str]:
        """Return the label of GB 45438-2025, appendix on implicit labels; `1`: it was generated."""
        produced = f"{self.keys.tag:04x}{invisible.short_id(portrait_id):08x}" if portrait_id else ""
        return {
            "Label": "1",
            "ContentProducer": self.settings.producer,
            "ProduceID": produced,
            "ReservedCode1": "",
            "ContentPropagator": self.settings.producer,
            "PropagateID": produced,
            "ReservedCode2": "",
        }


def open_marks(settings: MarkSettings) -> Marks:
    """Return the marks of an installation; its keys are made at the first use.

    A label and a certificate of the settings are tried out here, before anything is drawn. Raises `OperatorError` as
    `keys.open_keys`, and `label_font`, `cannot_sign`.
    """
    marks = Marks(settings, open_keys(settings))
    if settings.label:
        label.draw(np.zeros((TRIED_SIDE, TRIED_SIDE, 3), np.uint8), settings.label)
    if settings.certificate is not None:
        file = io.BytesIO()
        PIL.Image.new("RGB", (8, 8)).save(file, "JPEG")
        marks.sign(file.getvalue(), "image/jpeg", Manifest(source_types.BY_KIND["studio"]))
    return marks


def manifest_of_recipe(recipe: Mapping[str, Any], portrait_id: str) -> Manifest:
    """Return the manifest of a new portrait; `recipe` is what its file carries."""
    return Manifest(source_types.of_recipe(recipe), (), recipe, invisible.short_id(portrait_id))
