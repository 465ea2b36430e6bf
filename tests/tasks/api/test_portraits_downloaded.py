"""Portraits in lists and as downloads: names, likeness in steps, neighbours, other formats and sizes."""

import io
import zipfile
from urllib.parse import unquote

import PIL.Image
import pytest

from pipelines import deliver
from pipelines.deliver import read_recipe
from pipelines.marks import credentials, invisible
from pipelines.marks.marks import open_marks
from portrait.types import Portrait
from tests import fakes
from tests.tasks.api.harness import ApiHarness, OwnedIds, style_part
from tests.tasks.api.test_edits import known
from tests.tasks.api.test_idphotos import RECIPE


def delivered(api: ApiHarness, things: OwnedIds, recipe: dict[str, object] | None = None) -> None:
    """Write the portrait's file as a worker does."""
    row = api.context.ledger.portraits.get("ann", things.portrait)
    made = recipe or {"seed": 7, "style": {"id": "studio-warm", "version": 1, "kind": "studio"}}
    marks = open_marks(api.context.installation.flows.marks)
    content = deliver.encode(Portrait(fakes.picture(1, 1, 160), None, {}, {}, {}, made), "jpg", marks, row.id)
    api.context.files.portrait("ann", row.job, row.file).write_bytes(content)


def read_credentials(api: ApiHarness, content: bytes, format: str) -> credentials.Credentials:
    """What the credentials of a file say here."""
    keys = open_marks(api.context.installation.flows.marks).keys
    found = credentials.read(content, f"image/{format.replace('jpg', 'jpeg')}", keys.anchors)
    assert found is not None
    return found


def test_a_portrait_tells_who_is_on_it_and_how_alike(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    found = client.get(f"/portraits/{things.portrait}").json()
    assert found["people"] == {"1": things.person}
    assert found["likeness"] == {"1": {"space": "dlib", "distance": 0.4, "step": 1}}
    assert found["recipe"] == {"seed": 1}
    (listed,) = client.get("/portraits", params={"recipe": False}).json()["items"]
    assert listed == {**found, "recipe": {}}


def test_lists_are_counted_sorted_and_walked(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    api.complete_next_job("draw:studio", count=3)
    newest = client.get("/portraits", params={"limit": 2}).json()
    assert (len(newest["items"]), newest["total"]) == (2, 4)
    order = [each["id"] for each in client.get("/portraits", params={"sort": "likeness"}).json()["items"]]
    page = client.get("/portraits", params={"sort": "likeness", "limit": 3}).json()
    rest = client.get("/portraits", params={"sort": "likeness", "limit": 3, "cursor": page["next"]}).json()
    assert [each["id"] for each in [*page["items"], *rest["items"]]] == order
    asked = {"sort": "likeness", "person": things.person}
    beside = client.get(f"/portraits/{order[1]}/neighbours", params=asked).json()
    assert beside == {"previous": order[0], "next": order[2], "place": 2, "total": 4}
    wrong = client.get("/portraits", params={"sort": "likeness", "cursor": things.portrait})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_cursor")


def test_a_portrait_gets_a_name(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    path = f"/portraits/{things.portrait}"
    assert client.patch(path, json={"name": "  At sea "}).json()["name"] == "At sea"
    both = client.patch(path, json={"favourite": True, "name": "x" * 80}).json()
    assert (both["favourite"], both["name"]) == (True, "x" * 80)
    assert client.patch(path, json={"favourite": False}).json()["name"] == "x" * 80
    assert client.patch(path, json={"name": ""}).json()["name"] == ""
    for wrong in ({}, {"name": "x" * 81}, {"name": "a\nb"}, {"name": None}):
        assert client.patch(path, json=wrong).status_code == 422


def test_a_file_is_called_by_person_style_and_number(api: ApiHarness) -> None:
    things, client = api.one_of_each("ann", "Zoë"), api.client()
    path = f"/portraits/{things.portrait}/file"

    def name(**asked: str) -> str:
        header = client.get(path, params=asked).headers["content-disposition"]
        return unquote(header.partition("filename*=UTF-8''")[2]) or header.partition('filename="')[2].rstrip('"')

    assert name() == f"Zoë-{style_part()}-1.jpg"
    assert name(language="zh") == f"Zoë-{style_part('zh')}-1.jpg"
    client.patch(f"/portraits/{things.portrait}", json={"name": "CON"})
    assert name() == "CON-.jpg"


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
def test_another_format_and_size_keep_mark_and_recipe(api: ApiHarness, format: str) -> None:
    things, client = api.one_of_each(), api.client()
    delivered(api, things)
    path = f"/portraits/{things.portrait}/file"
    sent = client.get(path, params={"format": format, "side": 80, "download": True})
    assert (sent.status_code, sent.headers["content-type"]) == (200, f"image/{format.replace('jpg', 'jpeg')}")
    assert sent.headers["cache-control"] == "no-store"
    assert sent.headers["content-disposition"] == f'attachment; filename="Ann-{style_part()}-1.{format}"'
    file = api.context.files.root / "taken"
    file.write_bytes(sent.content)
    with PIL.Image.open(file) as taken:
        assert max(taken.size) == 80
    assert read_recipe(file)["seed"] == 7
    assert b"compositeSynthetic" in sent.content
    signed = read_credentials(api, sent.content, format)
    assert (signed.trusted, signed.faults, signed.source_type) == (True, (), "compositeSynthetic")
    transcoded = () if format == "jpg" else ("c2pa.transcoded",)
    assert signed.actions == (*transcoded, "c2pa.resized", "c2pa.opened", "c2pa.created")
    assert signed.portrait == invisible.short_id(things.portrait)
    same = client.get(path, params={"format": "jpg", "side": 2048}).content
    assert same == client.get(path).content, "no picture is made larger, or written again for nothing"
    assert read_credentials(api, same, "jpg").actions == ("c2pa.created",)
    small = client.get(path, params={"side": 80}).content
    assert b"compositeSynthetic" in small, "a small picture for a page says how it came about, too"
    assert (b"portrait:recipe" in small, b"c2pa" in small) == (False, False), "and nothing else"
    assert client.get(path, params={"format": "gif"}).status_code == 422


def test_a_zip_in_another_format(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    delivered(api, things)
    sent = client.get("/portraits/zip", params={"format": "png", "side": 64, "language": "zh"})
    archive = zipfile.ZipFile(io.BytesIO(sent.content))
    (name,) = archive.namelist()
    assert name == f"Ann-{style_part('zh')}-1.png"
    assert max(PIL.Image.open(io.BytesIO(archive.read(name))).size) == 64
    signed = read_credentials(api, archive.read(name), "png")
    assert (signed.trusted, signed.faults) == (True, ())


def test_an_id_photo_is_made_no_smaller(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    known(api, things.portrait, RECIPE)
    delivered(api, things, RECIPE)
    path = f"/portraits/{things.portrait}/file"
    for asked in (path, "/portraits/zip"):
        refused = client.get(asked, params={"side": 80, "download": True})
        assert (refused.status_code, refused.json()["code"]) == (422, "id_photo_fixed")
    content = client.get(path, params={"format": "png", "side": 2048}).content
    assert read_credentials(api, content, "png").faults == ()
    whole = PIL.Image.open(io.BytesIO(content))
    assert whole.size == (160, 160)
    assert whole.info["dpi"] == pytest.approx((300, 300), abs=0.1)
