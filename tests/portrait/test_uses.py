from portrait.arrays import Image
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.ports import FaceFinder, Matter
from portrait.types import Face, PhotoUses
from portrait.uses import photo_uses, served_in_words, set_uses
from tests import selfies

WIDE = PhotoUses(("half_figure", "head_and_shoulders"), True, "front")
NEAR = PhotoUses(("very_close",), False, "left")


def served(finder: FaceFinder, matter: Matter, image: Image) -> PhotoUses:
    face = finder.faces(image, 0)[0]
    return photo_uses(matter.silhouette(image, face), face)


def test_a_photo_with_shoulders_serves_everything(finder: FaceFinder, matter: Matter, astronaut: Image) -> None:
    found = served(finder, matter, astronaut)
    assert found.idphoto
    assert found.template == "front"
    assert "head_and_shoulders" in found.compositions


def test_a_close_up_serves_close_portraits_and_no_id_photo(
    finder: FaceFinder, matter: Matter, astronaut: Image, astronaut_face: Face
) -> None:
    box = astronaut_face.box
    near = astronaut[
        round(box.top - 0.1 * box.height) : round(box.bottom + 0.1 * box.height),
        round(box.left - 0.1 * box.width) : round(box.right + 0.1 * box.width),
    ]
    found = served(finder, matter, selfies.resized(near, 3))
    assert not found.idphoto
    assert "head_and_shoulders" not in found.compositions
    assert found.template == "front"


def test_a_turned_head_serves_templates_that_are_turned_alike(finder: FaceFinder, matter: Matter) -> None:
    turns = {name: served(finder, matter, selfies.player(name)).template for name in ("player 2", "player 3")}
    yaw = finder.faces(selfies.player("player 2"), 0)[0].pose.yaw
    assert turns == {"player 2": "right" if yaw > 0 else "left", "player 3": "front"}


def test_without_a_mesh_no_template_and_no_id_photo(astronaut: Image, matter: Matter, astronaut_face: Face) -> None:
    bare = transform_face(astronaut_face, scaling_matrix(1.0))
    bare = Face(bare.box, bare.landmarks, None, {}, bare.pose, 1.0)
    found = photo_uses(matter.silhouette(astronaut, astronaut_face), bare)
    assert (found.idphoto, found.template) == (False, "")


def test_a_set_serves_what_any_of_its_references_serves_and_says_what_opens_the_rest() -> None:
    near = set_uses([NEAR], 1)
    assert (near.compositions, near.idphoto, near.templates, near.training) == (
        ("very_close",),
        False,
        ("left",),
        False,
    )
    assert [each.code for each in near.openings] == ["idphoto", "training"]
    both = set_uses([NEAR, WIDE], 5)
    assert both.openings == ()
    assert both.templates == ("left", "front")
    assert {each.code for each in set_uses([PhotoUses()], 9).openings} == {"studio", "idphoto", "template"}


def test_in_words() -> None:
    assert served_in_words(WIDE) == ["studio", "ID photos", "templates"]
    assert served_in_words(set_uses([NEAR], 1)) == ["studio", "templates"]
