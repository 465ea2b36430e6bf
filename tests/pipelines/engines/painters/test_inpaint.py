"""People drawn into templates by a diffusion base: real fusion, real masks, and a network of which one knows what it draws."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from pipelines.diffusion.base import registry
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.engines.painters.fusion import Fusion
from pipelines.engines.painters.inpaint import Inpaint, PassControls
from pipelines.engines.parsers.mesh import MeshParser
from pipelines.model_store.store import ModelStore
from pipelines.settings import DrawSettings, Settings
from portrait.arrays import Image, Mask, Size
from portrait.errors import Cancelled, OperatorError, UserError
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.generation.options import ControlInput, GenerationOptions
from portrait.generation.parameters import GenerationParameters
from portrait.generation.passes import Passes
from portrait.types import Candidate, Face, Identity, PortraitRequest, Quality, Reference, Style, StylePicture
from tests import dressed, selfies
from tests.fakes import RecordingProgress

GOOD = Quality(1, 1, 1, 1, 1, 1, 1)
COLOURS = {"anna": (200, 80, 60), "ben": (60, 80, 200), "cleo": (60, 200, 80), "dora": (180, 180, 60)}
"""What each person is drawn as, where the network may draw."""


@dataclass(frozen=True)
class Base:
    """As much of a base as a plan reads."""

    family: Any
    name: str = "made"
    native_side: int = 256
    start_side: int = 256
    size_multiple: int = 16


@dataclass
class Network:
    """Draws a person's colour, as far as the strength goes; what it gives back undrawn is a little dull and smooth."""

    family: str = "sd15"
    planned: list[PortraitRequest] = field(default_factory=list)
    drawn: list[GenerationPlan] = field(default_factory=list)

    def plan(self, request: PortraitRequest) -> GenerationPlan:
        self.planned.append(request)
        options = request.options or GenerationOptions()
        parameters = GenerationParameters("a photo", "", Size(256, 256), request.seed, 10, 5.0, options)
        base = Base(registry.family_by_name(self.family))
        return GenerationPlan(request.people[1], base, [("lora", object())], parameters, "", (), Size(256, 256))  # pyrefly: ignore[bad-argument-type] -- fakes

    def draw(self, plan: GenerationPlan, on_step: Callable[[int], None]) -> tuple[np.ndarray, dict[str, object]]:
        parameters = plan.parameters
        assert parameters.start is not None
        returned = cv2.GaussianBlur(parameters.start, (0, 0), 0.7).astype(np.float32) / 255 * 0.97
        if parameters.mask is None:
            assert parameters.strength == 0
            return returned, {}
        self.drawn.append(plan)
        for step in range(int(parameters.steps * parameters.strength)):
            on_step(step + 1)
        colour = np.array(COLOURS[plan.person.id] if plan.identities else (128, 128, 128), np.float32) / 255
        share = (parameters.mask * parameters.strength)[..., None]
        return returned + (colour - returned) * share, {"base": plan.base.name}


class Store(ModelStore):
    """A model store in which some control networks are."""

    def __init__(self, *here: str) -> None:
        self._here = here

    def missing(self, model: str) -> list[str]:
        return [] if model in self._here else [f"`portrait models pull {model}` brings it."]

    def folder(self, model: str) -> Any:
        if model not in self._here:
            raise OperatorError("missing_model", self.missing(model)[0])


CONTROLS = (
    *("controlnet_canny_sd15", "controlnet_tile_sd15", "controlnet_openpose_sd15", "controlnet_canny_sdxl"),
    *("controlnet_openpose_sdxl", "pose"),
)


def painter(network: Network, *here: str) -> Inpaint:
    guides = PassControls(Settings(), Store(*(here or CONTROLS)), Copied)
    return Inpaint(Fusion(), cast(Diffusion, network), MeshParser(), guides, DrawSettings())


@dataclass
class Copied:
    """A control that shows the picture itself; it sees nobody in one without light."""

    kind: str

    def process(self, image: Image) -> Image:
        if self.kind == "pose" and image.mean() < 20:
            raise UserError("no_pose", "Nobody is seen.")
        return image


def person(name: str, face: Face, image: Image) -> Identity:
    return Identity(name, (Reference(f"{name}.jpg", image, face, GOOD),), {})


@pytest.fixture(scope="session")
def people(astronaut: Image, astronaut_face: Face, group_faces: list[Face]) -> dict[str, Identity]:
    group = selfies.group()
    faces = {"ben": group_faces[2], "cleo": group_faces[3], "dora": group_faces[0]}
    return {"anna": person("anna", astronaut_face, astronaut)} | {
        name: person(name, face, group) for name, face in faces.items()
    }


def request(image: Image, faces: list[Face], who: Mapping[int, Identity], **more: Any) -> PortraitRequest:
    passes = more.pop("passes", None)
    style = Style("made", 1, "template", "Made", picture=StylePicture(image, tuple(faces)), passes=passes)
    return replace(PortraitRequest(who, style, 0, 1, skin="template"), **more)


def paint(portrait_request: PortraitRequest, network: Network | None = None, progress: Any = None) -> Candidate:
    return painter(network or Network()).paint(portrait_request, progress or RecordingProgress())[0]


def changed(one: Image, other: Image) -> np.ndarray:
    return (one != other).any(axis=2)


def reach(image: Image, face: Face) -> Mask:
    """Everything a face may change: its oval and a fifth of its width around it."""
    assert face.mesh is not None
    canvas = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(canvas, cv2.convexHull(face.mesh[:, :2].round().astype(np.int32)), 1)
    # The mesh ends at the brow's upper third; skin is looked for a sixth of the face above it.
    side = 2 * round(0.36 * face.box.height) + 1
    return cv2.dilate(canvas, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))).astype(np.float32)


# --- Who, where, in which order --------------------------------------------------------------------------------------


def test_every_pixel_beyond_the_face_is_the_templates(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    drawn = paint(request(astronaut, [astronaut_face], {1: people["ben"]}))
    moved = changed(drawn.image, astronaut)
    assert moved.sum() > 3000
    assert not moved[reach(astronaut, astronaut_face) == 0].any()


def test_passes_come_in_order_from_left_to_right_and_each_by_their_own_person(
    group_faces: list[Face], people: dict[str, Identity]
) -> None:
    network = Network()
    paint(request(selfies.group(), group_faces, {4: people["anna"], 3: people["dora"]}), network)
    assert [each.people[1].id for each in network.planned] == ["dora", "anna"]
    assert all(set(each.people) == {1} for each in network.planned)
    recorded = [(each.person.id if each.identities else "", each.parameters.strength) for each in network.drawn]
    assert recorded == [("dora", 0.45), ("dora", 0.35), ("anna", 0.45), ("anna", 0.35)]


def test_neighbours_have_their_borders_drawn_together_as_nobody(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    pair, faces = beside(astronaut, astronaut_face)
    network = Network()
    drawn = paint(request(pair, faces, {1: people["ben"], 2: people["cleo"]}), network)
    assert [bool(each.identities) for each in network.drawn] == [True, True, True, True, False]
    last = network.drawn[-1].parameters
    assert last.strength == Passes().seam
    assert last.options.landmarks is None
    assert "people" in last.prompt
    (recorded,) = cast(list[dict[str, Any]], drawn.facts["seams"])
    assert recorded["follows"] == {"canny": 1.0, "tile": 1.0}
    allowed = np.maximum(*(reach(pair, face) for face in faces))
    assert not changed(drawn.image, pair)[allowed == 0].any()


def beside(image: Image, face: Face) -> tuple[Image, list[Face]]:
    """Two of the same picture, side by side, as near as people stand in a photo of two."""
    part = image[:, 120:330]
    moved = [transform_face(face, np.array([[1, 0, shift], [0, 1, 0]], np.float64)) for shift in (-120.0, 90.0)]
    return np.ascontiguousarray(np.hstack([part, part])), moved


def test_swapping_the_people_swaps_what_is_drawn(group_faces: list[Face], people: dict[str, Identity]) -> None:
    group = selfies.group()
    passes = Passes(face=0.9, tone=0, fusion=0, ring=0)
    one, other = (
        paint(request(group, group_faces, dict(zip((3, 6), who, strict=True)), passes=passes)).image
        for who in ((people["anna"], people["dora"]), (people["dora"], people["anna"]))
    )
    for image, colours in ((one, ("anna", "dora")), (other, ("dora", "anna"))):
        for number, name in zip((3, 6), colours, strict=True):
            x, y = (round(each) for each in group_faces[number - 1].landmarks[2])
            near = {who: np.abs(image[y, x].astype(int) - COLOURS[who]).sum() for who in ("anna", "dora")}
            assert min(near, key=lambda who: near[who]) == name


def test_a_face_without_a_person_stays_as_it_is(group_faces: list[Face], people: dict[str, Identity]) -> None:
    group = selfies.group()
    drawn = paint(request(group, group_faces, {3: people["anna"], 6: people["ben"]}))
    for number in (1, 2, 4, 5):
        box = group_faces[number - 1].box
        place = slice(int(box.top), int(box.bottom)), slice(int(box.left), int(box.right))
        assert (drawn.image[place] == group[place]).all()
    allowed = np.maximum(*(reach(group, group_faces[number - 1]) for number in (3, 6)))
    assert not changed(drawn.image, group)[allowed == 0].any()


def test_any_template_is_drawn_at_the_size_of_the_base(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    large = np.asarray(cv2.resize(astronaut, (1536, 1536), interpolation=cv2.INTER_CUBIC), np.uint8)
    network = Network()
    drawn = paint(request(large, [transform_face(astronaut_face, scaling_matrix(3))], {1: people["ben"]}), network)
    assert drawn.image.shape == (1536, 1536, 3)
    assert {each.parameters.size for each in network.drawn} == {Size(256, 256)}


# --- Each pass matters -----------------------------------------------------------------------------------------------

OFF: dict[str, dict[str, Any]] = {name: {name: 0.0} for name in ("face", "tone", "fusion", "ring")}
LATER = {
    "face": ("face", "fused", "boundary"),
    "tone": ("face", "fused", "boundary"),
    "fusion": ("fused", "boundary"),
    "ring": ("boundary",),
}
"""What a pass owns, and what those after it make of the difference."""


@pytest.mark.parametrize("name", OFF)
def test_without_a_pass_only_what_it_owns_is_different(
    name: str,
    astronaut: Image,
    astronaut_face: Face,
    people: dict[str, Identity],
    record_property: Callable[[str, object], None],
) -> None:
    network = Network()
    unchanged = request(astronaut, [astronaut_face], {1: people["ben"]})
    (face_plan,) = painter(network).plan(unchanged).faces
    without = replace(unchanged, style=replace(unchanged.style, passes=replace(Passes(), **OFF[name])))
    differs = changed(paint(unchanged).image, paint(without).image)[face_plan.window.slices]
    owned = np.max([getattr(face_plan.areas, area) for area in LATER[name]], axis=0) > 0
    for key, value in {"changed": int(differs.sum()), "beyond": int((differs & ~owned).sum())}.items():
        record_property(f"without {name}: pixels {key}", value)
    assert differs.sum() > 100
    assert not (differs & ~owned).any()


def test_with_no_strength_it_is_the_fusion_to_the_bit(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    unchanged = request(astronaut, [astronaut_face], {1: people["ben"]}, passes=Passes(face=0, ring=0))
    network = Network()
    assert (paint(unchanged, network).image == Fusion().paint(unchanged, RecordingProgress())[0].image).all()
    assert network.drawn == []


def test_lips_are_drawn_and_eyes_are_the_persons_own(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    assert astronaut_face.mesh is not None
    spread = {}
    for fusion in (0.0, 1.0):
        passes = Passes(face=1.0, tone=0, fusion=fusion, ring=0)
        drawn = paint(request(astronaut, [astronaut_face], {1: people["ben"]}, passes=passes)).image
        for part, point in (("eye", 468), ("lip", 14)):
            x, y = astronaut_face.mesh[point, :2].round().astype(int)
            spread[part, fusion] = float(drawn[y - 2 : y + 3, x - 5 : x + 6].std(axis=(0, 1)).max())
    assert max(spread["lip", 0.0], spread["lip", 1.0], spread["eye", 0.0]) < 4  # one colour
    assert spread["eye", 1.0] > 15


def test_the_skin_goes_back_to_the_tone_of_the_template(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    cheek = tuple(slice(round(at) - 3, round(at) + 4) for at in _point(astronaut_face, 50)[::-1])
    gaps = []
    for tone in (0.0, 1.0):
        passes = Passes(tone=tone, fusion=0, ring=0)
        drawn = paint(request(astronaut, [astronaut_face], {1: people["ben"]}, passes=passes)).image
        gaps.append(np.abs(drawn[cheek].mean((0, 1)) - astronaut[cheek].mean((0, 1))).sum())
    assert gaps[1] < 0.5 * gaps[0]


def _point(face: Face, number: int) -> tuple[float, float]:
    assert face.mesh is not None
    return float(face.mesh[number, 0]), float(face.mesh[number, 1])


# --- What is followed ------------------------------------------------------------------------------------------------


def test_each_pass_follows_its_controls_drawn_from_what_it_begins_from(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    network = Network()
    paint(request(astronaut, [astronaut_face], {1: people["ben"]}), network)
    first, second = (each.parameters for each in network.drawn)
    assert {control_input.kind: control_input.scale for control_input in first.options.control_inputs} == {
        "canny": 0.5,
        "pose": 0.5,
    }
    assert {control_input.kind: control_input.scale for control_input in second.options.control_inputs} == {
        "canny": 1.0,
        "tile": 1.0,
    }
    for parameters in (first, second):
        assert all(
            control_input.picture is parameters.start and control_input.preprocessed
            for control_input in parameters.options.control_inputs
        )
    assert first.options.landmarks is not None
    assert np.allclose(first.options.landmarks.mean(0), 128, atol=30)
    assert first.seed != second.seed
    # What the first pass begins from and follows is the template with the person's face pasted in, not the template.
    wanted = request(astronaut, [astronaut_face], {1: people["ben"]})
    window = painter(Network()).plan(wanted).faces[0].window
    fused = Fusion().paint(wanted, RecordingProgress())[0].image
    assert first.start is not None
    assert (first.start == window.resize_for_drawing(fused[window.slices])).all()
    assert (first.start != window.resize_for_drawing(astronaut[window.slices])).any()


def test_a_needed_control_that_is_missing_is_named_with_its_pull_before_drawing(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    network = Network()
    recorded = RecordingProgress()
    with pytest.raises(OperatorError, match="pull controlnet_canny_sd15"):
        painter(network, "controlnet_tile_sd15").paint(
            request(astronaut, [astronaut_face], {1: people["ben"]}), recorded
        )
    assert recorded.messages == []
    strict = Passes(needs=("canny", "tile"))
    with pytest.raises(OperatorError, match="pull controlnet_tile_sd15"):
        painter(network, "controlnet_canny_sd15").paint(
            request(astronaut, [astronaut_face], {1: people["ben"]}, passes=strict), recorded
        )
    free = request(astronaut, [astronaut_face], {1: people["ben"]}, options=GenerationOptions(strengths={"canny": 0}))
    assert painter(network, "controlnet_tile_sd15").paint(free, recorded)


def test_without_a_body_there_is_no_pose_control(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    network = Network()
    dark = np.asarray(astronaut // 8, np.uint8)
    paint(request(dark, [astronaut_face], {1: people["ben"]}), network)
    assert [control_input.kind for control_input in network.drawn[0].parameters.options.control_inputs] == ["canny"]


def test_sdxl_follows_outlines_alone_at_first(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    network = Network("sdxl")
    paint(request(astronaut, [astronaut_face], {1: people["ben"]}), network)
    assert [
        [control_input.kind for control_input in each.parameters.options.control_inputs] for each in network.drawn
    ] == [
        ["canny"],
        ["canny"],
    ]


def test_a_person_without_a_lora_is_drawn_by_the_other_adapters(
    group_faces: list[Face], people: dict[str, Identity], tmp_path: Any
) -> None:
    trained = replace(people["anna"], lora=tmp_path / "anna.safetensors", trigger="sks")
    network = Network()
    options = GenerationOptions(identities=("lora", "instantid"))
    paint(request(selfies.group(), group_faces, {3: trained, 6: people["dora"]}, options=options), network)
    named = [each.options.identities for each in network.planned if each.options]
    assert named == [("lora", "instantid"), ("instantid",)]


# --- Requests --------------------------------------------------------------------------------------------------------


def test_strengths_of_a_technique_count_before_the_styles(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    network = Network()
    asked = request(
        *(astronaut, [astronaut_face], {1: people["ben"]}),
        passes=Passes(face=0.6, ring=0.2),
        options=GenerationOptions(strengths={"ring": 0.4}),
    )
    drawn = paint(asked, network)
    assert [each.parameters.strength for each in network.drawn] == [0.6, 0.4]
    used: Any = drawn.facts["passes"]
    assert used["ring"] == 0.4
    with pytest.raises(UserError, match="face"):
        paint(replace(asked, options=GenerationOptions(strengths={"face": 1.2})))


@pytest.mark.parametrize(("passes", "name"), [(Passes(face=0.05), "face"), (Passes(ring=0.09), "ring")])
def test_a_pass_that_would_do_no_step_is_refused(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity], passes: Passes, name: str
) -> None:
    network = Network()
    with pytest.raises(UserError, match=f"The pass {name}: With 10 steps a strength of .* at least 0.1,") as caught:
        paint(request(astronaut, [astronaut_face], {1: people["ben"]}, passes=passes), network)
    assert caught.value.code == "bad_technique"
    assert network.drawn == []
    before = request(astronaut, [astronaut_face], {1: people["ben"]}, passes=passes)
    paint(replace(before, drawn={}), network)
    assert len(network.drawn) == 2, "a recipe is drawn again as it was"


def test_candidates_differ_and_come_again(astronaut: Image, astronaut_face: Face, people: dict[str, Identity]) -> None:
    asked = request(astronaut, [astronaut_face], {1: people["ben"]}, seed=7, count=3)
    network = Network()
    first, again = (painter(network).paint(asked, RecordingProgress()) for _ in range(2))
    assert [each.variation["seed"] for each in first] == [7, 8, 9]
    assert all((one.image == two.image).all() for one, two in zip(first, again, strict=True))
    seeds = [each.parameters.seed for each in network.drawn[:6]]
    assert len(set(seeds)) == 6
    assert seeds == [each.parameters.seed for each in network.drawn[6:]]
    assert first[0].reference_names == {1: "ben.jpg"}
    (last,) = painter(network).paint(replace(asked, only=2), RecordingProgress())
    assert (last.image == first[2].image).all()
    assert [each.parameters.seed for each in network.drawn[12:]] == seeds[4:]


def test_a_size_is_cut_about_the_drawn_faces(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    drawn = paint(request(astronaut, [astronaut_face], {1: people["ben"]}, size=Size(300, 400)))
    assert drawn.image.shape == (400, 300, 3)


def test_it_tells_how_far_it_is_and_stops_within_a_step(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    recorded: list[tuple[int, int, str]] = []

    def until(done: int, total: int, doing: str, preview: Image | None = None) -> None:
        recorded.append((done, total, doing))
        if doing.startswith("Drawing the border") and done == 5:
            raise Cancelled

    network = Network()
    with pytest.raises(Cancelled):
        paint(request(astronaut, [astronaut_face], {1: people["ben"]}), network, until)
    assert recorded[-1] == (5, 7, "Drawing the border, eyes and mouth of face 1")
    assert [each[0] for each in recorded] == sorted(each[0] for each in recorded)


def test_own_control_inputs_are_refused(astronaut: Image, astronaut_face: Face, people: dict[str, Identity]) -> None:
    options = GenerationOptions(control_inputs=(ControlInput("canny", astronaut),))
    with pytest.raises(UserError, match="its own hint"):
        paint(request(astronaut, [astronaut_face], {1: people["ben"]}, options=options))


def test_a_face_that_fusion_refuses_is_refused_before_anything_is_planned(
    astronaut: Image, group_faces: list[Face], people: dict[str, Identity]
) -> None:
    network = Network()
    for number, code in ((2, "template_profile"), (9, "template_face_missing")):
        with pytest.raises(UserError) as caught:
            paint(request(selfies.group(), group_faces, {number: people["anna"]}), network)
        assert caught.value.code == code
    assert network.planned == []


def test_a_diffusion_model_draws_into_the_picture_that_was_led_over(
    astronaut: Image, astronaut_face: Face, people: dict[str, Identity]
) -> None:
    dark = dressed.toned(astronaut, astronaut_face, 0.8)
    passes = Passes(face=0.0, ring=0.0)
    wanted = replace(request(dark, [astronaut_face], {1: people["ben"]}, passes=passes), skin="person")
    drawn = paint(wanted)
    skin: Any = drawn.facts["skin"]
    assert skin["1"]["body"]
    neck = slice(182, 190), slice(210, 240)
    assert drawn.image[neck].mean() > dark[neck].mean() + 15
