"""The styles available in an installation: published versions, else built-in styles of the same id."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from portrait.errors import OperatorError, UserError
from tasks.files import Files
from tasks.ledger.ledger import Ledger
from tasks.ledger.rows import StyleRow
from templates.catalog import BUILTIN, Catalog, Entry
from templates.hashes import PREVIEW
from templates.schema import StyleFile, parse_stored


def shows_samples(entry: Entry) -> bool:
    """Whether a style's card shows sample people: it is built in, or nobody chose a picture for it."""
    return entry.folder.parent == BUILTIN or not (entry.folder / PREVIEW).is_file()


@lru_cache(maxsize=1024)
def _parse(id: str, content: str) -> StyleFile:
    """The style of a published version, by its content as JSON, validated once; raises `OperatorError` (`bad_style`)."""
    return parse_stored(json.loads(content), id)


@dataclass(frozen=True, slots=True)
class AvailableStyles:
    """Finds the styles of an installation, for the API, workers and the command line."""

    ledger: Ledger | None
    """None where an installation has no ledger: then the built-in styles are all there is."""
    files: Files

    def entries(self) -> list[Entry]:
        """Every available style in its newest version, sorted by id."""
        found = {entry.style.id: entry for entry in Catalog().entries()}
        # By number: the newest of an id comes last.
        for row in self._published():
            with suppress(OperatorError):  # one version that does not hold any more must not hide all others
                found[row.id] = self.entry(row)
        return [found[id] for id in sorted(found)]

    def find(self, id: str, version: int | None = None) -> Entry:
        """One style: the given version, retired or not, or the newest; raises `UserError` (`unknown_style`)."""
        row = None if self.ledger is None else self.ledger.styles.find(id, version)
        if row is not None:
            return self.entry(row)
        built_in = {entry.style.id: entry for entry in Catalog().entries()}
        if id in built_in:
            return built_in[id]
        known = ", ".join(sorted({*built_in, *(each.id for each in self._published())}))
        sentence = f"There is no style {id[:64]!r}, and no picture of that name. Styles: {known}."
        raise UserError("unknown_style", sentence)

    def entry(self, row: StyleRow) -> Entry:
        """A published version as a catalogue entry; raises `OperatorError` (`bad_style`)."""
        style = _parse(row.id, json.dumps(row.content))
        return Entry(style, self.files.fetch_folder(self.files.style(row.id, row.version)))

    def _published(self) -> Sequence[StyleRow]:
        return () if self.ledger is None else self.ledger.styles.list()
