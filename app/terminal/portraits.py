"""From the arguments of a command to portraits in a folder; shared by `make`, `remake` and `demo`.

OUT/set (and set-2 … for further people), OUT/STYLE-1.jpg …, OUT/index.html, and OUT/portraits.json, which remembers where
the sets and pictures lie: a portrait itself carries no paths.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from app.terminal import styles
from app.terminal.photos import collect_photos
from pipelines import build, render, template_faces
from pipelines.deliver import Deliver
from pipelines.engines import Engines
from pipelines.folders import atomic, identities, training_sets
from pipelines.guards import ages, words
from pipelines.image_io import PICTURE_SUFFIXES
from pipelines.marks.marks import open_marks
from pipelines.memory import return_memory
from pipelines.pages import report
from pipelines.prepare import Overrides
from pipelines.refine import steps_of
from pipelines.settings import Settings
from portrait.arrays import Size, Vector
from portrait.errors import UserError
from portrait.generation.options import GenerationOptions
from portrait.photos.names import as_text
from portrait.ports import Progress
from portrait.types import Identity, Portrait, PortraitRequest, Refinement, Skin, Style, TrainingSet
from tasks.ledger.ledger import open_ledger
from tasks.settings import load_installation
from tasks.styles.terms import to_allowed_style
from templates.catalog import Entry
from templates.style import to_style

NOTES_FILE = "portraits.json"


@dataclass(frozen=True, slots=True)
class PortraitOptions:
    """What was asked for, apart from people and styles."""

    count: int = 1
    seed: int = 0
    size: Size | None = None
    format: str = "jpg"
    refiners: tuple[Refinement, ...] = ()
    name: str = ""
    """What the files are called; the style's name when empty."""
    technique: GenerationOptions | None = None
    """For styles that a diffusion model draws."""
    skin: Skin | None = None
    """Whose skin tone a face in a picture has; the style's choice when None."""


@dataclass(frozen=True, slots=True, eq=False)
class DeliveredPortrait:
    """One portrait and the file it was written to."""

    file: Path
    style: Style
    portrait: Portrait


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPerson:
    """Somebody who can be drawn, the set they come from, and what was said of their photos."""

    person: Identity
    folder: Path
    verdicts: list[dict[str, Any]]
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """How many of the files given are no pictures, by the ending of their names."""


@dataclass(slots=True)
class PortraitMaker:
    """The work of one command, with its engines and its folder."""

    settings: Settings
    engines: Engines
    out: Path
    progress: Progress
    traits: list[Mapping[str, str]] = field(default_factory=list)
    """What each of the people who were prepared chose to say of themselves: prompts say it of a person alone."""
    answer: ages.Answer = field(default_factory=ages.Answer)
    """What was said where a parent or guardian is asked for."""
    children: bool = False
    """Whether somebody among them may be a child."""

    def prepare_person(self, given: Sequence[Path], name: str = "set", identity: Path | None = None) -> PreparedPerson:
        """A training set, or photos that become one in OUT/NAME; `identity` is the folder of their trained identity.

        An identity's own folder stands for its person, with the photos that it holds, or without any.
        """
        if len(given) == 1 and identities.is_identity(given[0]):
            photos = given[0] / identities.PHOTOS_FOLDER
            if not training_sets.is_set(photos):
                return self._prepare_identity(given[0])
            given, identity = [photos], given[0]
        passed_over: Mapping[str, int] = {}
        if len(given) == 1 and training_sets.is_set(given[0]):
            folder = given[0]
        else:
            folder = self.out / name
            flow = build.prepare(self.settings, self.engines)
            known = training_sets.read_enlarged(folder)
            with collect_photos(given) as photos:
                training, passed_over = flow(photos.files, Overrides(), self.progress, known), photos.passed_over
            training_sets.write(training, folder)
            report.write(training, folder)
            del training  # its photos are as large as those that are read back
        # Read back even when it was just made: what is drawn is then the same from photos and from the set.
        training = training_sets.read(folder)
        return_memory()
        self.children |= check_set(self.settings, training, folder, self.answer)
        person = Identity(set_id(folder), training.references, training.mean_embeddings, class_word=training.class_word)
        if identity is not None:
            known = identities.read(identity).identity
            person = replace(known, id=person.id, references=person.references, mean_embeddings=person.mean_embeddings)
            self.note_paths({f"{person.id}.learned": identity})
        self.note_paths({person.id: folder})
        self.traits.append(training.traits)
        return PreparedPerson(person, folder, training_sets.photos_to_dicts(training.photos), passed_over)

    def _prepare_identity(self, folder: Path) -> PreparedPerson:
        """A trained person without photos: only their LoRA draws them."""
        person = identities.read(folder).identity
        check_face(person.mean_embeddings)
        self.children |= ages.check(self.settings, None, folder, self.answer)
        self.note_paths({person.id: folder})
        self.traits.append({})
        return PreparedPerson(person, folder, [])

    def load_style(
        self, name: str, version: int | None = None, points: Mapping[int, tuple[float, float]] | None = None
    ) -> Style:
        """A style as it is offered, or in a version that may be retired; or any picture file as a template.

        `points`: where in a picture faces were pointed at, in pixels; a version without any is a recipe of version 0.1.0.
        """
        find = partial(self._attach, version is not None and not points, tuple((points or {}).values()))
        path = Path(name)
        if path.suffix.lower() in PICTURE_SUFFIXES or path.is_file():
            if not path.is_file():
                raise UserError("not_found", f"There is no picture at {name}.")
            style = Style(f"picture-{_hash(path)}", 1, "template", as_text(path.stem))
            self.note_paths({style.id: path})
            return find(style, path)
        with styles.open_available_styles() as prompt_traits:
            entry = styles.find_style(prompt_traits, name, version)
            traits = self.traits[0] if len(self.traits) == 1 else {}
            style, picture = to_allowed_style(entry.style, self.settings, traits), entry.picture()
            return style if picture is None else find(style, picture)

    def _attach(
        self, counted_before: bool, points: Sequence[tuple[float, float]], style: Style, picture: Path
    ) -> Style:
        return render.attach_template(style, picture, self.engines.finder(), points, counted_before)

    def draw_at(
        self,
        people: Mapping[int, Identity],
        style: str,
        points: Mapping[int, tuple[float, float]],
        options: PortraitOptions,
    ) -> list[DeliveredPortrait]:
        """Portraits of one style by its name; numbers of people that `points` names stand for those of its picture."""
        loaded = self.load_style(style, points=points)
        placed = people if loaded.picture is None else template_faces.renumber(people, loaded.picture, points)
        return self.draw(placed, loaded, options)

    def draw(self, people: Mapping[int, Identity], style: Style, options: PortraitOptions) -> list[DeliveredPortrait]:
        """Portraits of one style, written to OUT, the best first."""
        request = PortraitRequest(
            people,
            style,
            options.seed,
            options.count,
            options.size,
            options.refiners,
            options.technique,
            skin=options.skin,
        )
        check_words(self.settings, request, self.children)
        flow = build.render(self.engines, [request.mode], steps_of(request), self.settings.draw)
        deliver = Deliver(options.format, open_marks(self.settings.marks))
        name = options.name or (style.title if style.id.startswith("picture-") else style.id)
        portraits = flow(request, self.progress)
        return_memory()  # marks and credentials hold a large picture several times
        return [
            DeliveredPortrait(deliver(portrait, self.out / f"{name}-{number}"), style, portrait)
            for number, portrait in enumerate(portraits, 1)
        ]

    def note_paths(self, paths: Mapping[str, Path]) -> None:
        """Note in OUT where sets and pictures lie, for `remake`."""
        notes = read_notes(self.out) | {name: str(path.absolute()) for name, path in paths.items()}
        atomic.write_file(self.out / NOTES_FILE, json.dumps(notes, indent=1))


def attach_picture(entry: Entry, engines: Engines) -> Style:
    """A style with its picture, where it has one."""
    style, picture = to_style(entry.style), entry.picture()
    return style if picture is None else render.attach_template(style, picture, engines.finder())


def set_id(folder: Path) -> str:
    """What a set is known by: the hash of its description, which holds every embedding."""
    return _hash(folder / training_sets.DESCRIPTION_FILE)


def read_notes(out: Path) -> dict[str, str]:
    """Where sets and pictures lie, as noted in a folder of portraits; empty when nothing was."""
    try:
        return dict(json.loads((out / NOTES_FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def draw_each_style(
    names: Sequence[str], draw: Callable[[str], list[DeliveredPortrait]]
) -> tuple[list[DeliveredPortrait], list[dict[str, str]]]:
    """Draw style after style; one that cannot be drawn is reported and does not stop the others, unless none could."""
    delivered: list[DeliveredPortrait] = []
    refused: list[dict[str, str]] = []
    first: UserError | None = None
    for name in names:
        try:
            delivered += draw(name)
        except UserError as error:
            first = first or error
            refused.append({"style": name, "code": error.code, "message": error.message})
    if first is not None and not delivered:
        raise type(first)(first.code, first.message, {**first.details, "refused": refused}) from first
    return delivered, refused


def portraits_to_dict(delivered: Sequence[DeliveredPortrait]) -> list[dict[str, Any]]:
    """Portraits as JSON."""
    return [
        {
            "file": str(each.file),
            "style": each.style.id,
            "likeness": _likeness_to_dict(each.portrait, min(each.portrait.likeness, default=0)),
            "faces": {str(place): _likeness_to_dict(each.portrait, place) for place in sorted(each.portrait.likeness)},
            "seed": each.portrait.recipe["seed"],
            "scores": {name: round(score, 4) for name, score in each.portrait.scores.items()},
            "recipe": each.portrait.recipe,
        }
        for each in delivered
    ]


def _likeness_to_dict(portrait: Portrait, place: int) -> dict[str, Any] | None:
    found = portrait.likeness.get(place)
    return None if found is None else {"space": found.space, "distance": round(found.distance, 4)}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def check_set(settings: Settings, training: TrainingSet, folder: Path, answer: ages.Answer | None = None) -> bool:
    """Whether who may be a child is drawn; raises `UserError`: `guardian_needed`, `person_blocked`."""
    check_face(training.mean_embeddings)
    return ages.check(settings, training.asks_guardian, folder, answer)


def check_face(mean_embeddings: Mapping[str, Vector]) -> None:
    """Raise `UserError` (`person_blocked`) for somebody whom the installation never draws, where it has a ledger."""
    installation = load_installation()
    if styles.ledger_exists(installation):
        store = open_ledger(installation.tasks.database)
        try:
            store.blocked_people.check([mean_embeddings])
        finally:
            store.close()


def check_words(settings: Settings, request: PortraitRequest, child: bool = False) -> None:
    """Raise `UserError` (`words_refused`) for what somebody wrote into a request."""
    traits = "" if request.options is None else request.options.traits
    edit = "" if request.edit is None else request.edit.extra_prompt
    words.check(settings.guards, [traits, edit], child)
