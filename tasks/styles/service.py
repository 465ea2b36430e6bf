"""Where operators work on styles: from a draft that is changed and checked to a version that never changes.

A draft is a row of the ledger and a folder named by its edition; each change makes a new edition, and who changes an older
one is refused. What API and command line do with own styles they do here.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.idphotos import presets
from portrait.errors import OperatorError, UserError
from portrait.studio.backdrops import NAMES
from tasks.files import Files, publish, refused
from tasks.ledger.database import new_id
from tasks.ledger.drafts import outdated
from tasks.ledger.ledger import Store
from tasks.ledger.rows import DraftNews, DraftRow, StyleRow
from tasks.styles.available import Offered
from templates import catalog, importers, lint, packs, schema
from templates.catalog import Catalog, Entry
from templates.hashes import PREVIEW, files_of, hash_of, looked_at, pinned, seal
from templates.importers import Left
from templates.lint import Finding
from templates.schema import StyleFile

PICTURES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
"""Kinds of picture that a style may have, as packs allow them, by format."""


@dataclass(frozen=True, slots=True)
class Brought:
    """Drafts that came in, and what of them did not."""

    drafts: tuple[DraftRow, ...]
    left: tuple[Left, ...]


@dataclass(frozen=True, slots=True)
class Workshop:
    """Own styles of an installation, for its operators."""

    store: Store
    files: Files
    now: Callable[[], float] = time.time

    def entry(self, draft: DraftRow) -> Entry:
        """A draft with the folder of its files."""
        return Entry(StyleFile.model_validate(draft.content), self.files.draft(draft.id, draft.edition))

    def draft(self, id: str, edition: str | None = None) -> DraftRow:
        """The draft of a style; raises `unknown_style`, and `draft_changed` when it is not that edition any more."""
        row = self.store.drafts.find(id) if edition is not None else self.store.drafts.get(id)
        if row is None or edition not in (None, row.edition):
            raise outdated()
        return row

    def write(self, id: str, content: Mapping[str, Any], edition: str | None, who: str) -> DraftRow:
        """Make or change a draft; the picture is that of the draft, or of the style as it is offered.

        Raises `UserError`: `bad_style` field by field, `draft_changed` where `edition` is not the present one, or where none
        is named and there is a draft.
        """
        style = schema.parse(content)
        if style.id != id:
            raise UserError("bad_style", f"The style calls itself {style.id[:64]}, not {id[:64]}. Correct its id.")
        before = self.store.drafts.find(id)
        if edition != (before.edition if before else None):
            raise outdated()
        return self._changed(style, before, who, self._origin(id, before))

    def hang(self, id: str, picture: Path, format: str, edition: str | None, who: str) -> DraftRow:
        """Give a template's draft another picture. Raises `bad_style`, `bad_picture`, `draft_changed`, `unknown_style`."""
        before = self.draft(id, edition)
        style = self.entry(before).style
        if style.kind != "template":
            raise UserError("bad_style", f"A style of the kind {style.kind} has no picture. Make it a template first.")
        if format not in PICTURES:
            raise UserError("bad_picture", f"A style's picture is a JPEG, PNG or WebP, and this is {format}.")
        name = f"picture.{PICTURES[format]}"
        told = style.model_dump(mode="json", by_alias=True) | {"picture": {"file": name, "sha256": hash_of(picture)}}
        origin = self.files.draft(id, before.edition)
        return self._changed(schema.parse(told), before, who, origin, (picture, name))

    def bring(self, source: Path, who: str, replacing: bool = False) -> Brought:
        """New drafts of a pack, a style's folder or file, FaceChain's JSON styles or a folder of JPEGs: all or none.

        A draft that is there already stays as it is, and the import is refused, unless it is for `replacing`.

        Raises `UserError`: `bad_pack`, `nothing_to_import`, `not_found`, `style_exists`; `OperatorError` (`bad_style` …).
        """
        with self._desk() as desk:
            entries, left = _unpacked(source, desk)
            now = self.now()
            rows = [self._row(pinned(each), new_id("edition", now, at), who) for at, each in enumerate(entries)]

            def place() -> None:
                for entry, row in zip(entries, rows, strict=True):
                    schema.write(StyleFile.model_validate(row.content), entry.folder / "style.toml")
                    publish(entry.folder, self.files.draft(row.id, row.edition))

            for gone in self.store.drafts.add(rows, place, replacing):
                self.files.erase_draft(gone.id, gone.edition)
            return Brought(tuple(rows), tuple(left))

    def findings(self, draft: DraftRow) -> list[Finding]:
        """What is wrong with a draft: its words as they are, and what a worker saw in its picture, if it looked."""
        entry = self.entry(draft)
        found = words(entry, known())
        if draft.checked and draft.checked["of"] == looked_at(entry):
            found += [Finding(**each) for each in draft.checked["findings"]]
        return list(dict.fromkeys(found))

    def checked(self, draft: DraftRow) -> bool:
        """Whether nothing of the draft is left to look at: words are read at once, pictures by a worker."""
        entry = self.entry(draft)
        return entry.style.kind != "template" or bool(draft.checked and draft.checked["of"] == looked_at(entry))

    def keep_test(self, draft: DraftRow, staged: Path) -> None:
        """Put what a test drew in the place of the test before; done twice it is done once."""
        if staged.exists():
            self.files.erase_tests(draft.id)
        publish(staged, self.files.style_test(draft.id, draft.edition))

    def tested(self, news: DraftNews, draft: DraftRow, drawn: Path) -> None:
        """Write down a test that was drawn here into a folder of somebody's own; its pictures are copied."""
        with self._desk() as desk:
            staged = desk / "test"
            staged.mkdir()
            for file in sorted(drawn.glob("[0-9].jpg")):
                shutil.copyfile(file, staged / file.name)
            self.store.drafts.hear(news)
            self.keep_test(draft, staged)

    def publish(self, id: str, edition: str | None = None) -> StyleRow:
        """Make the draft the next version; its content published again is no change.

        Raises `UserError`: `style_faults` names what is to be mended, `style_unchecked`, `draft_changed`, `unknown_style`.
        """
        draft = self.draft(id, edition)
        faults = [each for each in self.findings(draft) if each.level == "error"]
        if faults:
            told = "; ".join(f"{each.where}: {each.tip}" for each in faults[:5])
            fields = [{"where": each.where, "code": each.code, "message": each.tip} for each in faults]
            raise UserError("style_faults", f"The style {id} is to be mended first. {told}", {"fields": fields})
        if not self.checked(draft):
            raise UserError("style_unchecked", f"Nobody looked at the picture of {id} yet. Have it checked first.")
        entry = self.entry(draft)
        built_in = next((each.style.version for each in Catalog().entries() if each.style.id == id), 0)

        def place(number: int) -> Mapping[str, Any]:
            return self._placed(draft, entry, number)

        row = self.store.styles.publish(draft, seal(entry), max(entry.style.version, built_in + 1), self.now(), place)
        self._forget(draft)
        return row

    def retire(self, id: str, version: int | None = None) -> Sequence[StyleRow]:
        """Offer a version no more, or none of a style; their files stay. Raises `unknown_style`."""
        return self.store.styles.retire(id, version, self.now())

    def remove(self, id: str, edition: str | None = None) -> None:
        """Throw a draft away; raises `unknown_style`, `draft_changed`."""
        draft = self.draft(id, edition)
        self.store.drafts.remove(id, draft.edition)
        self._forget(draft)

    def export(self, ids: Sequence[str], path: Path) -> Path:
        """Write a pack of styles as they are offered, or their drafts where nothing was published."""
        known = {entry.style.id: entry for entry in Offered(self.store, self.files).entries()}
        drafts = {id: self.entry(self.store.drafts.get(id)) for id in ids if id not in known}
        return packs.export([(known | drafts)[id] for id in dict.fromkeys(ids)], path)

    def _changed(
        self,
        style: StyleFile,
        before: DraftRow | None,
        who: str,
        origin: Path | None,
        picture: tuple[Path, str] | None = None,
    ) -> DraftRow:
        """The next edition of a draft, in its folder and in the ledger."""
        with self._desk() as desk:
            folder = desk / style.id
            folder.mkdir()
            for file in files_of(origin) if origin else ():
                if picture is None or file.stem != "picture":
                    shutil.copyfile(file, folder / file.name)
            if picture is not None:
                shutil.copyfile(picture[0], folder / picture[1])
            row = self._row(pinned(Entry(style, folder)), new_id("edition", self.now()), who)
            schema.rewrite(StyleFile.model_validate(row.content), folder / "style.toml")

            def place() -> None:
                publish(folder, self.files.draft(row.id, row.edition))

            if before is None:
                self._added(row, place)
            else:
                row = replace(row, checked=before.checked, tested=before.tested)
                self.store.drafts.change(row, before.edition, place)
                self.files.erase_draft(before.id, before.edition)
            return row

    def _added(self, row: DraftRow, place: Callable[[], None]) -> None:
        try:
            self.store.drafts.add([row], place)
        except UserError as error:
            raise (outdated() if error.code == "style_exists" else error) from error

    def _origin(self, id: str, before: DraftRow | None) -> Path | None:
        """Where the files of a style lie until now: in its draft, its newest version, or the project."""
        if before is not None:
            return self.files.draft(id, before.edition)
        return next((each.folder for each in Offered(self.store, self.files).entries() if each.style.id == id), None)

    def _row(self, style: StyleFile, edition: str, who: str) -> DraftRow:
        content = style.model_copy(update={"status": "draft"}).model_dump(mode="json", by_alias=True)
        return DraftRow(style.id, edition, content, self.now(), who)

    def _placed(self, draft: DraftRow, entry: Entry, number: int) -> Mapping[str, Any]:
        """The files of a version, in their place; what its style.toml says."""
        style = entry.style.model_copy(update={"version": number, "status": "published"})
        with self._desk() as desk:
            folder = desk / style.id
            folder.mkdir()
            for file in files_of(entry.folder):
                shutil.copyfile(file, folder / file.name)
            for seen in (self.files.style_test(draft.id, draft.edition) / "1.jpg", entry.folder / PREVIEW):
                if seen.is_file():
                    shutil.copyfile(seen, folder / PREVIEW)
                    break
            schema.rewrite(style, folder / "style.toml")
            publish(folder, self.files.style(style.id, number))
        return style.model_dump(mode="json", by_alias=True)

    def _forget(self, draft: DraftRow) -> None:
        self.files.erase_draft(draft.id, draft.edition)
        self.files.erase_tests(draft.id)

    @contextmanager
    def _desk(self) -> Iterator[Path]:
        """A folder on the disk of the data, gone afterwards."""
        try:
            self.files.styles.mkdir(parents=True, exist_ok=True)
            desk = Path(tempfile.mkdtemp(prefix=".desk.", dir=self.files.styles))
            try:
                yield desk
            finally:
                shutil.rmtree(desk, ignore_errors=True)
        except OSError as error:
            raise refused(error) from error


def known() -> lint.Installed:
    """What every machine of an installation knows: backdrops, and the rules and colours of ID photos."""
    rules = presets.load()
    return lint.Installed(frozenset(NAMES), frozenset(each.id for each in rules.preset), frozenset(rules.colours))


def words(entry: Entry, installed: lint.Installed) -> list[Finding]:
    """What is wrong with a style's words, and whether its picture is there and the one it names."""
    found = lint.words(entry.style, installed)
    try:
        return found + lint.file(entry.picture(), entry.style)
    except OperatorError as error:
        return [*found, Finding("picture_missing", "error", "picture", f"{error.message} Add it.")]


def _unpacked(source: Path, desk: Path) -> tuple[Sequence[Entry], Sequence[Left]]:
    """The styles at a place, copied to a desk."""
    if source.is_dir() and (source / "style.toml").is_file():
        return [catalog.add(source, desk)], ()
    if source.suffix.lower() == ".zip":
        return packs.bring(source, desk), ()
    if source.suffix.lower() == ".toml" and source.is_file():
        return [_alone(source, desk)], ()
    brought = importers.bring(source, desk)
    return brought.entries, brought.left


def _alone(source: Path, desk: Path) -> Entry:
    """A style.toml without a folder; its picture is added later."""
    try:
        style = schema.read(source)
    except OperatorError as error:
        raise UserError("bad_style", error.message.replace(str(source), source.name)) from error
    folder = desk / style.id
    folder.mkdir()
    schema.rewrite(style, folder / "style.toml")
    return Entry(style, folder)
