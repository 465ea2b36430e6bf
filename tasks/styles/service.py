"""Style service of operators: drafts that are changed and checked, versions that never change once published.

A draft is a row of the ledger and a folder named by its edition; each change makes a new edition, and a change of an older one
is refused. The API and the command line both work through this class.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.idphotos import presets
from pipelines.settings import Settings
from portrait.errors import OperatorError, UserError
from portrait.studio.backdrops import NAMES
from tasks.files import Files, disk_error
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.rows import DraftFindings, DraftRow, StyleRow
from tasks.ledger.styles import draft_changed_error
from tasks.styles.available import AvailableStyles
from tasks.styles.terms import with_terms
from templates import catalog, importers, lint, packs, schema
from templates.catalog import Catalog, Entry
from templates.hashes import PREVIEW, asset_files, check_hash, content_hash, file_hash, with_picture_hash
from templates.imported import Skipped
from templates.lint import Finding
from templates.schema import StyleFile

PICTURE_SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
"""File suffix by format, of the pictures that a style may have; as packs allow them."""


@dataclass(frozen=True, slots=True)
class StyleImport:
    """Drafts that were imported, and what of their sources was skipped."""

    drafts: tuple[DraftRow, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class StyleService:
    """Creates, checks, publishes, retires, imports and exports the styles of an installation."""

    ledger: Ledger
    files: Files
    now: Callable[[], float] = time.time
    settings: Settings = field(default_factory=Settings)
    """Of the installation, whose profile styles are held to."""

    def entry(self, draft: DraftRow) -> Entry:
        """A draft as a catalogue entry: its style and the folder of its files. Raises `OperatorError` (`bad_style`)."""
        style = schema.parse_stored(draft.content, draft.id)
        return Entry(style, self.files.fetch_folder(self.files.draft(draft.id, draft.edition)))

    def draft(self, id: str, edition: str | None = None) -> DraftRow:
        """The draft of a style. Raises `unknown_style`, or `draft_changed` where `edition` is not the present one."""
        row = self.ledger.drafts.find(id) if edition is not None else self.ledger.drafts.get(id)
        if row is None or edition not in (None, row.edition):
            raise draft_changed_error()
        return row

    def write_draft(self, id: str, content: Mapping[str, Any], edition: str | None, who: str) -> DraftRow:
        """Create a draft or change it; its files are those of the draft, else of the newest version or built-in style.

        Raises `UserError`: `bad_style` field by field, `draft_changed` where `edition` is not the present one, or where none
        is named and there is a draft.
        """
        style = schema.parse_style(content)
        if style.id != id:
            raise UserError("bad_style", f"The style calls itself {style.id[:64]}, not {id[:64]}. Correct its id.")
        before = self.ledger.drafts.find(id)
        if edition != (before.edition if before else None):
            raise draft_changed_error()
        return self._replace_draft(style, before, who, self._current_folder(id, before))

    def set_picture(self, id: str, picture: Path, format: str, edition: str | None, who: str) -> DraftRow:
        """Replace the picture of a template's draft, or the backdrop of a studio's by a picture.

        Raises `bad_style`, `bad_picture`, `draft_changed`, `unknown_style`.
        """
        before = self.draft(id, edition)
        style = self.entry(before).style
        if style.kind not in ("studio", "template"):
            raise UserError(
                "bad_style", f"A style of the kind {style.kind} has no picture. Make it a template or a studio first."
            )
        if format not in PICTURE_SUFFIXES:
            raise UserError("bad_picture", f"A style's picture is a JPEG, PNG or WebP, and this is {format}.")
        name = f"picture.{PICTURE_SUFFIXES[format]}"
        content = style.model_dump(mode="json", by_alias=True)
        content |= {"backdrop": "", "picture": {"file": name, "sha256": file_hash(picture)}}
        origin = self.files.fetch_folder(self.files.draft(id, before.edition))
        return self._replace_draft(schema.parse_style(content), before, who, origin, (picture, name))

    def import_drafts(self, source: Path, who: str, replacing: bool = False, prefix: str = "") -> StyleImport:
        """Import a pack, a style's folder or style.toml, styles of other tools or a folder of JPEGs as drafts: all or none.

        Where a draft of the same id exists a pack or style is refused, unless it is `replacing` drafts; those of other tools
        are numbered on, with a `prefix` before their ids.

        Raises `UserError`: `bad_pack`, `nothing_to_import`, `not_found`, `style_exists`; `OperatorError` (`bad_style` …).
        """
        with self._work_dir() as work_dir:
            entries, skipped = _unpack(source, work_dir, {} if replacing else self._known(), prefix)
            now = self.now()
            rows = [
                self._draft_row(with_picture_hash(each), new_id("edition", now, at), who)
                for at, each in enumerate(entries)
            ]

            def place() -> None:
                for entry, row in zip(entries, rows, strict=True):
                    schema.write_style(StyleFile.model_validate(row.content), entry.folder / "style.toml")
                    self.files.publish(entry.folder, self.files.draft(row.id, row.edition))

            for replaced in self.ledger.drafts.add(rows, place, replacing):
                self.files.erase_draft(replaced.id, replaced.edition)
            return StyleImport(tuple(rows), tuple(skipped))

    def _known(self) -> dict[str, StyleFile]:
        """Every style that is there, by id: drafts before what is published or built in."""
        entries = AvailableStyles(self.ledger, self.files).entries()
        known = {entry.style.id: entry.style for entry in entries}
        for row in self.ledger.drafts.list():
            with suppress(
                OperatorError
            ):  # one that does not hold any more keeps its id from being replaced all the same
                known[row.id] = self.entry(row).style
        return known

    def findings(self, draft: DraftRow) -> list[Finding]:
        """Findings of lint: of the fields as they are now, and of the picture if a worker has checked the present one.

        A draft that does not hold any more has one finding, `style_broken`.
        """
        try:
            entry = self.entry(draft)
        except OperatorError as error:
            return [Finding("style_broken", "error", "", error.message)]
        found = lint_entry(entry, installed(self.settings))
        if draft.checked and draft.checked["of"] == check_hash(entry):
            found += [Finding(**each) for each in draft.checked["findings"]]
        return list(dict.fromkeys(found))

    def is_checked(self, draft: DraftRow) -> bool:
        """Whether the draft needs no check by a worker: it has no picture, or the present picture was checked."""
        try:
            entry = self.entry(draft)
        except OperatorError:
            return False
        return entry.style.picture is None or bool(draft.checked and draft.checked["of"] == check_hash(entry))

    def publish_test(self, draft: DraftRow, staged: Path) -> None:
        """Replace the sample renders of the last test by those in `staged`; repeating it changes nothing."""
        if staged.exists():
            self.files.erase_tests(draft.id)
        self.files.publish(staged, self.files.style_test(draft.id, draft.edition))

    def save_test(self, news: DraftFindings, draft: DraftRow, drawn: Path) -> None:
        """Record a test that was rendered outside a job, with copies of its pictures in the folder `drawn`."""
        with self._work_dir() as work_dir:
            staged = work_dir / "test"
            staged.mkdir()
            for file in sorted(drawn.glob("[0-9].jpg")):
                shutil.copyfile(file, staged / file.name)
            self.ledger.drafts.record_findings(news)
            self.publish_test(draft, staged)

    def publish(self, id: str, edition: str | None = None, card: int | None = None) -> StyleRow:
        """Publish the draft as the next version; publishing the content of the newest version again changes nothing.

        People see the sample `card` of its test on the style's card; None takes the one most alike, and none of an operator's
        own people. Raises `UserError`: `style_faults` (`details` lists the findings), `style_unchecked`, `draft_changed`,
        `unknown_style`, `not_found` (no such sample), `private_sample`.
        """
        draft = self.draft(id, edition)
        preview = self._preview(draft, card)
        faults = [each for each in self.findings(draft) if each.level == "error"]
        if faults:
            tips = "; ".join(f"{each.where}: {each.tip}" for each in faults[:5])
            fields = [{"where": each.where, "code": each.code, "message": each.tip} for each in faults]
            raise UserError("style_faults", f"The style {id} is to be mended first. {tips}", {"fields": fields})
        if not self.is_checked(draft):
            raise UserError("style_unchecked", f"Nobody looked at the picture of {id} yet. Have it checked first.")
        entry = self.entry(draft)
        built_in = next((each.style.version for each in Catalog().entries() if each.style.id == id), 0)

        least, place = max(entry.style.version, built_in + 1), partial(self._write_version, entry, preview)
        row = self.ledger.styles.publish(draft, content_hash(entry), least, self.now(), place)
        self._erase_files(draft)
        return row

    def retire(self, id: str, version: int | None = None) -> Sequence[StyleRow]:
        """Retire one version of a style, or all of them; their files stay. Raises `unknown_style`."""
        return self.ledger.styles.retire(id, version, self.now())

    def delete_draft(self, id: str, edition: str | None = None) -> None:
        """Delete a draft and its files; raises `unknown_style`, `draft_changed`."""
        draft = self.draft(id, edition)
        self.ledger.drafts.remove(id, draft.edition)
        self._erase_files(draft)

    def export(self, ids: Sequence[str], path: Path) -> Path:
        """Write a pack of the newest versions of styles, or of their drafts where none was published; returns `path`."""
        known = {entry.style.id: entry for entry in AvailableStyles(self.ledger, self.files).entries()}
        drafts = {id: self.entry(self.ledger.drafts.get(id)) for id in ids if id not in known}
        return packs.export_pack([(known | drafts)[id] for id in dict.fromkeys(ids)], path)

    def _replace_draft(
        self,
        style: StyleFile,
        before: DraftRow | None,
        who: str,
        origin: Path | None,
        picture: tuple[Path, str] | None = None,
    ) -> DraftRow:
        """Write the next edition of a draft: its folder, with files of `origin` and the new picture, and its row."""
        with self._work_dir() as work_dir:
            folder = work_dir / style.id
            folder.mkdir()
            # A picture that was uploaded goes when another takes its place, or a painted backdrop.
            stays = picture is None and (style.kind != "studio" or style.picture is not None)
            for file in asset_files(origin) if origin else ():
                if stays or file.stem != "picture":
                    shutil.copyfile(file, folder / file.name)
            # A draft that came with a picture of its card keeps it; a version's shows what another prompt drew.
            if before is not None and picture is None and origin and (origin / PREVIEW).is_file():
                shutil.copyfile(origin / PREVIEW, folder / PREVIEW)
            if picture is not None:
                shutil.copyfile(picture[0], folder / picture[1])
            row = self._draft_row(with_picture_hash(Entry(style, folder)), new_id("edition", self.now()), who)
            schema.write_checked(StyleFile.model_validate(row.content), folder / "style.toml")

            place = partial(self.files.publish, folder, self.files.draft(row.id, row.edition))
            if before is None:
                self._insert_draft(row, place)
            else:
                row = replace(row, checked=before.checked, tested=before.tested)
                self.ledger.drafts.change(row, before.edition, place)
                self.files.erase_draft(before.id, before.edition)
            return row

    def _insert_draft(self, row: DraftRow, place: Callable[[], None]) -> None:
        try:
            self.ledger.drafts.add([row], place)
        except UserError as error:
            raise (draft_changed_error() if error.code == "style_exists" else error) from error

    def _current_folder(self, id: str, before: DraftRow | None) -> Path | None:
        """The folder with the present files of a style: of its draft, its newest version, or the built-in style."""
        if before is not None:
            return self.files.fetch_folder(self.files.draft(id, before.edition))
        entries = AvailableStyles(self.ledger, self.files).entries()
        return next((each.folder for each in entries if each.style.id == id), None)

    def _draft_row(self, style: StyleFile, edition: str, who: str) -> DraftRow:
        content = style.model_copy(update={"status": "draft"}).model_dump(mode="json", by_alias=True)
        return DraftRow(style.id, edition, content, self.now(), who)

    def _preview(self, draft: DraftRow, card: int | None) -> Path | None:
        """The sample of a draft's test that its card shows; None where it was not tested as it is now."""
        folder = self.files.fetch_folder(self.files.style_test(draft.id, draft.edition))
        private = {each["number"] for each in (draft.tested or {}).get("samples", ()) if each.get("person")}
        if card in private:
            raise UserError(
                "private_sample",
                "That sample shows somebody of an account, who is drawn for its operator alone. Leave the card out, or try the "
                "style out on the sample people.",
            )
        if card is not None:
            if not (folder / f"{card}.jpg").is_file():
                raise UserError(
                    "not_found", f"There is no sample {card} of this draft. Try it out again, or leave it out."
                )
            return folder / f"{card}.jpg"
        tested = (draft.tested or {}).get("samples", ())
        samples = [each for each in tested if not each["fault"] and each["number"] not in private]
        samples.sort(key=lambda each: (each["distance"] is None, each["distance"] or 0.0))
        return next((path for each in samples if (path := folder / f"{each['number']}.jpg").is_file()), None)

    def _write_version(self, entry: Entry, preview: Path | None, number: int) -> Mapping[str, Any]:
        """Write the folder of a version; returns the content of its style.toml."""
        style = entry.style.model_copy(update={"version": number, "status": "published"})
        with self._work_dir() as work_dir:
            folder = work_dir / style.id
            folder.mkdir()
            for file in asset_files(entry.folder):
                shutil.copyfile(file, folder / file.name)
            for shown in (preview, entry.folder / PREVIEW):
                if shown is not None and shown.is_file():
                    shutil.copyfile(shown, folder / PREVIEW)
                    break
            schema.write_checked(style, folder / "style.toml")
            self.files.publish(folder, self.files.style(style.id, number))
        return style.model_dump(mode="json", by_alias=True)

    def _erase_files(self, draft: DraftRow) -> None:
        self.files.erase_draft(draft.id, draft.edition)
        self.files.erase_tests(draft.id)

    @contextmanager
    def _work_dir(self) -> Iterator[Path]:
        """A temporary folder on the disk of the data, so that publishing is a rename; raises `OperatorError`."""
        try:
            self.files.styles.mkdir(parents=True, exist_ok=True)
            place = {"prefix": ".desk.", "dir": self.files.styles}
            with tempfile.TemporaryDirectory(**place, ignore_cleanup_errors=True) as work_dir:
                yield Path(work_dir)
        except OSError as error:
            raise disk_error(error) from error


def installed(settings: Settings) -> lint.Installed:
    """What lint knows without a worker: names of backdrops, presets and colours of ID photos, and the terms of the settings."""
    rules = presets.load_presets()
    here = lint.Installed(frozenset(NAMES), frozenset(each.id for each in rules.preset), frozenset(rules.colours))
    return with_terms(here, settings)


def lint_entry(entry: Entry, installed: lint.Installed) -> list[Finding]:
    """Findings of lint in a style's fields, and of whether its picture exists and has the hash that it names."""
    found = lint.lint_fields(entry.style, installed)
    try:
        return found + lint.lint_picture_file(entry.picture(), entry.style)
    except OperatorError as error:
        return [*found, Finding("picture_missing", "error", "picture", f"{error.message} Add it.")]


def _unpack(
    source: Path, work_dir: Path, known: Mapping[str, StyleFile], prefix: str
) -> tuple[Sequence[Entry], Sequence[Skipped]]:
    """Copy the styles at `source` into `work_dir`, by the kind of source; the entries and what was skipped."""
    if source.is_dir() and (source / "style.toml").is_file():
        return [catalog.add_style(source, work_dir)], ()
    if source.suffix.lower() == ".zip":
        return packs.import_pack(source, work_dir), ()
    if source.suffix.lower() == ".toml" and source.is_file():
        return [_import_toml(source, work_dir)], ()
    imported = importers.import_styles(source, work_dir, known, prefix)
    return imported.entries, imported.skipped


def _import_toml(source: Path, work_dir: Path) -> Entry:
    """Import a style.toml without its folder; its picture is added later."""
    try:
        style = schema.read_style(source)
    except OperatorError as error:
        raise UserError("bad_style", error.message.replace(str(source), source.name)) from error
    folder = work_dir / style.id
    folder.mkdir()
    schema.write_checked(style, folder / "style.toml")
    return Entry(style, folder)
