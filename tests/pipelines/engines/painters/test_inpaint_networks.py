"""Drawing into templates with tiny networks that are real: what the autoencoder loses, borders, and the same pixels again."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch

from pipelines.engines import Engines
from pipelines.engines.painters import inpaint
from pipelines.engines.painters.fusion import Fusion
from pipelines.engines.painters.inpaint import Inpaint
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, DrawSettings, ModelStoreSettings, Settings
from portrait.arrays import Image
from portrait.errors import OperatorError
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.generation.options import GenerationOptions
from portrait.generation.passes import DEFAULT_PROMPT, Passes
from portrait.ports import Parser
from portrait.types import Face, Identity, PortraitRequest, Quality, Reference, Style, StylePicture
from tests import hub_store, photo_vae, selfies, tiny
from tests.benchmarks.plugin import Record
from tests.fakes import RecordingProgress
from tests.seams import VISIBLE, seam

GOOD = Quality(1, 1, 1, 1, 1, 1, 1)
TECHNIQUE = GenerationOptions(base="xl", identities=("instantid",), scheduler="own", steps=5)
WIDE = 240.0
"""Width of faces whose borders are measured, pixels: a step of so many pixels says nothing of a face that has a hundred."""


class Seeing(Engines):
    """Tiny networks, and the embedded parser."""

    parsing: Engines

    def parser(self) -> Parser:
        return self.parsing.parser()


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory, engines: Engines) -> Iterator[Inpaint]:
    torch.set_num_threads(1)
    settings: Settings = hub_store.fill(tmp_path_factory.mktemp("hub"))
    photo_vae.give(settings)
    with Seeing(settings, ModelStore(settings.models)) as tiny:
        cast(Seeing, tiny).parsing = engines
        yield cast(Inpaint, tiny.painter("inpaint"))


def known(name: str, image: Image, face: Face) -> Identity:
    vector = np.random.default_rng(len(name)).normal(size=512).astype(np.float32)
    calls = replace(face, embeddings={**face.embeddings, "antelopev2": vector})
    return Identity(name, (Reference(f"{name}.jpg", image, calls, GOOD),), {}, class_word="person")


@pytest.fixture(scope="module")
def ben(group_faces: list[Face]) -> Identity:
    return known("ben", selfies.group(), group_faces[2])


def request(image: Image, face: Face, who: Identity, **more: Any) -> PortraitRequest:
    passes = more.pop("passes", None)
    style = Style("made", 1, "template", "Made", picture=StylePicture(image, (face,)), passes=passes)
    return replace(PortraitRequest({1: who}, style, 5, 1, options=TECHNIQUE, skin="template"), **more)


def test_with_no_step_it_is_the_fusion_but_for_what_the_autoencoder_loses(
    painter: Inpaint,
    astronaut: Image,
    astronaut_face: Face,
    ben: Identity,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    portrait_request = request(astronaut, astronaut_face, ben, passes=Passes(face=0.1, ring=0.1, fusion=0, tone=0))
    monkeypatch.setattr(inpaint, "_check_steps", lambda plan: None)  # elsewhere such strengths are refused
    drawn = painter.paint(portrait_request, RecordingProgress())[0].image.astype(float)
    fused = Fusion().paint(portrait_request, RecordingProgress())[0].image
    (face_plan,) = painter.plan(portrait_request).faces
    window = face_plan.window
    start = window.resize_for_drawing(fused[window.slices])
    parameters = replace(face_plan.plan.parameters, start=start, strength=0.0)
    diffusion = painter._painter
    round_trip, _ = diffusion.draw(replace(face_plan.plan, identities=(), parameters=parameters), lambda done: None)
    taken = np.maximum(face_plan.areas.face, face_plan.areas.boundary)
    lost = np.abs(window.resize_for_picture(round_trip) - fused[window.slices]).mean(axis=2)
    apart = np.abs(drawn - fused)[window.slices].mean(axis=2)
    record_property("lost by the autoencoder", float(lost[taken > 0].mean()))
    record_property("apart from the fusion", float(apart[taken > 0].mean()))
    assert (apart[taken == 0] == 0).all()
    # Once where a pixel was drawn once, twice at the border; rounding adds half a level each time.
    assert apart[taken > 0].mean() < 1.1 * lost[taken > 0].mean()
    assert np.percentile(apart[taken > 0], 99) < 2 * np.percentile(lost[taken > 0], 99) + 1
    assert apart[face_plan.areas.face == 1].mean() > 1  # it did go through


def test_the_same_request_gives_the_same_pixels_and_another_seed_others(
    painter: Inpaint, astronaut: Image, astronaut_face: Face, ben: Identity
) -> None:
    portrait_request = request(astronaut, astronaut_face, ben)
    two = painter.paint(replace(portrait_request, count=2), RecordingProgress())
    again = painter.paint(portrait_request, RecordingProgress())[0]
    assert (two[0].image == again.image).all()
    assert (two[0].image != two[1].image).any()
    assert two[0].facts == again.facts


def test_another_model_or_control_than_before_is_refused(
    painter: Inpaint, astronaut: Image, astronaut_face: Face, ben: Identity
) -> None:
    portrait_request = request(astronaut, astronaut_face, ben, passes=Passes(ring=0))
    facts = dict(painter.paint(portrait_request, RecordingProgress())[0].facts)
    painter.check_models(portrait_request, facts)
    face = cast(dict[str, Any], facts["faces"])["1"]["face"]
    for change in ({"follows": {"canny": 0.5, "pose": 0.5}}, {"base_hash": "other"}):
        with pytest.raises(OperatorError) as caught:
            painter.check_models(portrait_request, {**facts, "faces": {"1": {"face": {**face, **change}}}})
        assert caught.value.code == "model_differs"


@pytest.fixture(scope="module")
def klein(tmp_path_factory: pytest.TempPathFactory, engines: Engines) -> Iterator[Inpaint]:
    """With a distilled FLUX.2, which has no control networks, and an empty model store."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("flux2")
    settings = Settings(
        models=ModelStoreSettings(folder=place / "models"),
        bases={"klein": BaseLocation(tiny.flux2(place / "klein", distilled=True))},
        draw=DrawSettings(base="klein", device="cpu"),
    )
    with Seeing(settings, ModelStore(settings.models)) as engines_of_klein:
        cast(Seeing, engines_of_klein).parsing = engines
        yield cast(Inpaint, engines_of_klein.painter("inpaint"))


def test_people_are_drawn_into_a_template_from_their_photos_where_the_base_has_no_controls(
    klein: Inpaint, astronaut: Image, astronaut_face: Face, ben: Identity
) -> None:
    part = astronaut[:, 120:330]
    pair = [
        transform_face(astronaut_face, np.array([[1, 0, shift], [0, 1, 0]], np.float64)) for shift in (-120.0, 90.0)
    ]
    image = np.ascontiguousarray(np.hstack([part, part]))
    style = Style("made", 1, "template", "Made", picture=StylePicture(image, tuple(pair)))
    style = replace(style, passes=Passes(needs=("canny", "tile")))  # of which the family has no network
    people = {1: ben, 2: known("anna", astronaut, astronaut_face)}
    asked = PortraitRequest(people, style, 5, 1, skin="template")
    plan = klein.plan(asked)
    [drawn] = klein.paint(asked, RecordingProgress())
    faces, [of_seam] = (cast(Any, drawn.facts[name]) for name in ("faces", "seams"))
    assert {(name, each["follows"] == {}) for face in faces.values() for name, each in face.items()} == {
        ("face", True),
        ("ring", True),
    }
    assert all(each["reference"] == {"photos": 1} for face in faces.values() for each in face.values())
    assert "reference" not in of_seam
    assert (faces["1"]["face"]["prompt"], of_seam["prompt"]) == tuple(
        DEFAULT_PROMPT.sentence.replace("{who}, {traits}", who) for who in ("person", "people")
    )
    allowed = np.zeros(image.shape[:2], bool)
    for window, mask in [(each.window, np.maximum(each.areas.face, each.areas.boundary)) for each in plan.faces] + [
        (each.window, each.mask) for each in plan.seams
    ]:
        allowed[window.slices] |= mask > 0
    changed = (drawn.image != image).any(axis=2)
    assert changed[allowed].mean() > 0.5
    assert not changed[~allowed].any()
    start = plan.faces[0].window.resize_for_drawing(image[plan.faces[0].window.slices])
    begun = replace(plan.faces[0].plan.parameters, start=start, mask=np.ones(start.shape[:2], np.float32), strength=0.5)
    made = replace(plan.faces[0].plan, parameters=begun)
    told, untold = (klein._painter.draw(each, lambda done: None)[0] for each in (made, replace(made, identities=())))
    assert np.abs(told - untold).max() > 1e-4


def made(astronaut: Image, astronaut_face: Face, group_faces: list[Face]) -> list[tuple[Image, Face, str]]:
    """Ten templates of one face each, with who is put there: framed, turned, lit and coloured in many ways."""
    grey = np.repeat(astronaut.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    dark = np.asarray(astronaut * 0.4, np.uint8)
    found = [(*selfies.varied(astronaut, astronaut_face, seed), "ben") for seed in range(4)]
    found += [(grey, astronaut_face, "ben"), (dark, astronaut_face, "ben")]
    found += [(selfies.group(), group_faces[number - 1], "anna") for number in (1, 3, 4, 6)]
    return [(*near(image, face), who) for image, face, who in found]


def near(image: Image, face: Face) -> tuple[Image, Face]:
    """The picture about a face, enlarged until the face is `WIDE`."""
    reach, (x, y) = 1.6 * face.box.width, face.box.centre
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    part = image[top : int(y + reach), left : int(x + reach)]
    factor = WIDE / face.box.width
    large = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    moved = transform_face(face, np.array([[1, 0, -left], [0, 1, -top]], np.float64))
    return np.asarray(large, np.uint8), transform_face(moved, scaling_matrix(factor))


@pytest.mark.parametrize(
    "chosen",
    [slice(1, None, 3), pytest.param(slice(None), marks=pytest.mark.bench)],
    ids=["three", "ten"],
)
def test_no_border_of_a_mask_shows_on_templates(
    painter: Inpaint,
    astronaut: Image,
    astronaut_face: Face,
    group_faces: list[Face],
    ben: Identity,
    record_property: Callable[[str, object], None],
    chosen: slice,
    figure: Record,
) -> None:
    people = {"ben": ben, "anna": known("anna", astronaut, astronaut_face)}
    worst = []
    for image, face, who in made(astronaut, astronaut_face, group_faces)[chosen]:
        portrait_request = request(image, face, people[who])
        drawn = painter.paint(portrait_request, RecordingProgress())[0].image
        (face_plan,) = painter.plan(portrait_request).faces
        part = drawn[face_plan.window.slices]
        worst.append(max(seam(part, face_plan.areas.face), seam(part, face_plan.areas.boundary)))
    record_property("steps across the borders over those beside them", [round(each, 2) for each in worst])
    assert len(worst) >= 3
    figure("Inpainting: steps across borders of masks over those beside them, most", max(worst), "×", at_most=VISIBLE)
