"""The content of a file's credentials: how the picture came about, from what, and the recipe that draws it again.

No titles, file names or thumbnails: nothing that a person chose or is called.
"""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.marks.source_types import VOCABULARY

RECIPE = "org.portrait.recipe"
"""The assertion that holds the recipe and the portrait's short id."""
PARENT = "parent"
"""The name by which an action names the file that it began from."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The file that a picture was made from, which becomes an ingredient."""

    content: bytes
    mime: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What credentials say of a file."""

    source: str
    """IPTC's digital source type, a code of `source_types`; empty where the parent's own credentials say it."""
    actions: tuple[str, ...] = ()
    """What was done after the picture was created or opened, such as `c2pa.resized`."""
    recipe: Mapping[str, Any] | None = None
    """Without own words: see `private_words`."""
    portrait: int | None = None
    """Short id of the portrait, 32 bits, as its invisible mark has it."""
    parent: Parent | None = None

    def to_dict(self) -> dict[str, Any]:
        """The manifest as the library takes it."""
        assertions: list[dict[str, Any]] = [{"label": "c2pa.actions", "data": {"actions": self._actions()}}]
        if self.recipe is not None or self.portrait is not None:
            named = {} if self.portrait is None else {"portrait": f"{self.portrait:08x}"}
            carried = {} if self.recipe is None else {"recipe": dict(self.recipe)}
            assertions.append({"label": RECIPE, "data": named | carried})
        version = importlib.metadata.version("portrait")
        return {"claim_generator_info": [{"name": "Portrait", "version": version}], "assertions": assertions}

    def _actions(self) -> list[dict[str, Any]]:
        kind = {"digitalSourceType": VOCABULARY + self.source} if self.source else {}
        if self.parent is None:
            first: dict[str, Any] = {"action": "c2pa.created", **kind}
            return [first, *({"action": name} for name in self.actions)]
        first = {"action": "c2pa.opened", "parameters": {"ingredientIds": [PARENT]}}
        return [first, *({"action": name, **kind} for name in self.actions)]
