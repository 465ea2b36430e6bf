"""From what a command was given to portraits in a folder; shared by `make`, `remake` and `demo`.

OUT/set (and set-2 … for further people), OUT/STYLE-1.jpg …, OUT/index.html, and OUT/portraits.json, which remembers where
the sets and pictures lie: a portrait itself carries no paths.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.terminal import styles
from app.terminal.photos import collect
from pipelines import build, render
from pipelines.deliver import Deliver
from pipelines.engines import Engines
from pipelines.folders import atomic, identities, training_sets
from pipelines.pages import report
from pipelines.prepare import Wishes
from pipelines.refine import steps_of
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation.options import Technique
from portrait.ports import Progress
from portrait.types import Identity, Portrait, PortraitRequest, Refinement, Style
from templates.catalog import Entry
from templates.style import style_of

NOTES = "portraits.json"
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif"}


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for, apart from people and styles."""

    count: int = 1
    seed: int = 0
    size: Size | None = None
    format: str = "jpg"
    refiners: tuple[Refinement, ...] = ()
    name: str = ""
    """What the files are called; the style's name if not told."""
    technique: Technique | None = None
    """For styles that a diffusion model draws."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivered:
    """One portrait and the file it was written to."""

    file: Path
    style: Style
    portrait: Portrait


@dataclass(frozen=True, slots=True, eq=False)
class Sitter:
    """Somebody who can be drawn, the set they come from, and what was said of their photos."""

    person: Identity
    folder: Path
    verdicts: list[dict[str, Any]]


@dataclass(slots=True)
class Making:
    """The work of one command, with its engines and its folder."""

    settings: Settings
    engines: Engines
    out: Path
    progress: Progress

    def sitter(self, given: Sequence[Path], name: str = "set", learned: Path | None = None) -> Sitter:
        """A training set, or photos that become one in OUT/NAME; `learned` is the folder of what was learned of them."""
        if len(given) == 1 and training_sets.is_set(given[0]):
            folder = given[0]
        else:
            folder = self.out / name
            flow = build.prepare(self.settings, self.engines)
            training = flow(collect(given), Wishes(), self.progress)
            training_sets.write(training, folder)
            report.write(training, folder)
        # Read back even when it was just made: what is drawn is then the same from photos and from the set.
        training = training_sets.read(folder)
        person = Identity(set_id(folder), training.references, training.likeness, class_word=training.class_word)
        if learned is not None:
            known = identities.read(learned).identity
            person = replace(known, id=person.id, references=person.references, likeness=person.likeness)
            self.remember({f"{person.id}.learned": learned})
        self.remember({person.id: folder})
        return Sitter(person, folder, training_sets.verdicts(training.photos))

    def style(self, name: str, version: int | None = None) -> Style:
        """A style as it is offered, or in a version that may be retired; or any picture file as a template."""
        path = Path(name)
        if path.suffix.lower() in PICTURES or path.is_file():
            if not path.is_file():
                raise UserError("not_found", f"There is no picture at {name}.")
            style = Style(f"picture-{_hash(path)}", 1, "template", path.stem)
            self.remember({style.id: path})
            return render.hang(style, path, self.engines.finder())
        with styles.offered() as offered:
            return hung(offered.find(name, version), self.engines)

    def draw(self, people: Mapping[int, Identity], style: Style, order: Order) -> list[Delivered]:
        """Portraits of one style, written to OUT, the best first."""
        request = PortraitRequest(people, style, order.seed, order.count, order.size, order.refiners, order.technique)
        flow = build.render(self.engines, [request.way], steps_of(request), self.settings.draw)
        deliver = Deliver(order.format)
        name = order.name or (style.title if style.id.startswith("picture-") else style.id)
        return [
            Delivered(deliver(portrait, self.out / f"{name}-{number}"), style, portrait)
            for number, portrait in enumerate(flow(request, self.progress), 1)
        ]

    def remember(self, places: Mapping[str, Path]) -> None:
        """Note in OUT where sets and pictures lie, for `remake`."""
        notes = notes_of(self.out) | {name: str(path.absolute()) for name, path in places.items()}
        atomic.write(self.out / NOTES, json.dumps(notes, ensure_ascii=False, indent=1))


def hung(entry: Entry, engines: Engines) -> Style:
    """A style with its picture, where it has one."""
    style, picture = style_of(entry.style), entry.picture()
    return style if picture is None else render.hang(style, picture, engines.finder())


def set_id(folder: Path) -> str:
    """What a set is known by: the hash of its description, which holds every embedding."""
    return _hash(folder / training_sets.DESCRIPTION)


def notes_of(out: Path) -> dict[str, str]:
    """Where sets and pictures lie, as noted in a folder of portraits; empty when nothing was."""
    try:
        return dict(json.loads((out / NOTES).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def each_style(
    names: Sequence[str], draw: Callable[[str], list[Delivered]]
) -> tuple[list[Delivered], list[dict[str, str]]]:
    """Draw style after style; one that cannot be drawn is told and does not stop the others, unless none could."""
    delivered: list[Delivered] = []
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


def document(delivered: Sequence[Delivered]) -> list[dict[str, Any]]:
    """Portraits as JSON."""
    return [
        {
            "file": str(each.file),
            "style": each.style.id,
            "likeness": _likeness(each.portrait, min(each.portrait.likeness, default=0)),
            "faces": {str(place): _likeness(each.portrait, place) for place in sorted(each.portrait.likeness)},
            "seed": each.portrait.recipe["seed"],
            "scores": {name: round(score, 4) for name, score in each.portrait.scores.items()},
            "recipe": each.portrait.recipe,
        }
        for each in delivered
    ]


def _likeness(portrait: Portrait, place: int) -> dict[str, Any] | None:
    found = portrait.likeness.get(place)
    return None if found is None else {"space": found.space, "distance": round(found.distance, 4)}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
