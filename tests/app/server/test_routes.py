"""The app's routes of pictures and downloads, against an API on a port of this machine."""

import io
import zipfile
from urllib.parse import quote

import PIL.Image
import pytest
from starlette.testclient import TestClient

from tests.app.pages import app_client, sign_in
from tests.tasks.api.harness import ApiServer, picture, style_part

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop


def test_pictures_are_served_to_their_owner_alone(server: ApiServer, visitor: TestClient) -> None:
    things = server.api.one_of_each()
    for kind, id in (("selfie", things.selfie), ("crop", things.selfie), ("portrait", things.portrait)):
        response = visitor.get(f"/picture/{kind}/{id}?side=64")
        assert (response.status_code, response.headers["content-type"]) == (200, "image/jpeg")
        assert response.headers["cache-control"] == "no-store", "the next one at this browser finds nothing of it"
        stranger = sign_in(app_client(), server.api, "ben")
        assert stranger.get(f"/picture/{kind}/{id}?side=64").status_code == 404
        assert app_client().get(f"/picture/{kind}/{id}").status_code == 401
    style = visitor.get("/picture/style/studio-warm?side=320")
    assert (style.status_code, style.headers["cache-control"]) == (200, "private, max-age=86400")
    assert visitor.get("/picture/secret/studio-warm").status_code == 404
    assert visitor.get("/picture/style/a%20b").status_code == 404


def test_portraits_and_exports_are_downloaded(server: ApiServer, visitor: TestClient) -> None:
    things = server.api.one_of_each()
    one = visitor.get(f"/take/portrait/{things.portrait}")
    assert one.headers["content-disposition"].startswith(f'attachment; filename="Ann-{style_part()}-1.jpg')
    many = visitor.get("/take/portraits.zip", params={"id": [things.portrait]})
    assert len(zipfile.ZipFile(io.BytesIO(many.content)).namelist()) == 1
    export = visitor.get("/take/export.zip")
    assert "records.json" in zipfile.ZipFile(io.BytesIO(export.content)).namelist()
    assert visitor.get("/take/portraits.zip", params={"id": "portrait_none"}).status_code == 404


def test_pictures_and_packs_of_drafts_are_served_to_operators_alone(server: ApiServer, visitor: TestClient) -> None:
    olga = sign_in(app_client(), server.api, "olga", "operator")
    content = {"schema": 1, "id": "hall", "kind": "template", "title": "Hall", "licence": "CC0-1.0"}
    sent = {"content": content | {"picture": {"file": "picture.jpg"}}}
    operator = server.api.client("olga", "operator")
    assert operator.put("/operator/styles/hall/draft", json=sent).status_code == 200
    file = {"file": ("a.jpg", picture(3, side=600, format="JPEG"))}
    assert operator.post("/operator/styles/hall/picture", files=file).status_code == 200
    draft_picture = olga.get("/picture/draft/hall?side=64")
    assert (draft_picture.status_code, draft_picture.headers["cache-control"]) == (200, "no-store")
    assert visitor.get("/picture/draft/hall").status_code == 403
    pack = olga.get("/take/styles.zip?id=hall")
    assert pack.headers["content-disposition"] == 'attachment; filename="hall.zip"'
    assert "hall/style.toml" in zipfile.ZipFile(io.BytesIO(pack.content)).namelist()
    assert visitor.get("/take/styles.zip?id=hall").status_code == 403
    for nothing in ("/picture/sample/hall.1", "/picture/sample/hall", "/picture/version/hall.1", "/picture/version/.1"):
        assert olga.get(nothing).status_code == 404
    # A style that was never published has a picture of nobody.
    assert visitor.get("/picture/style/hall").headers["content-type"] == "image/svg+xml"


def test_downloads_come_in_the_form_and_language_that_is_asked(server: ApiServer, visitor: TestClient) -> None:
    things = server.api.one_of_each("ann", "Zoë")
    visitor.cookies.set("portrait_language", "zh")
    name = f"Zoë-{style_part('zh')}-1.png"
    one = visitor.get(f"/take/portrait/{things.portrait}", params={"format": "png", "side": 100})
    assert (one.headers["content-type"], one.headers["cache-control"]) == ("image/png", "no-store")
    assert one.headers["content-disposition"].endswith(f"filename*=UTF-8''{quote(name)}")
    assert max(PIL.Image.open(io.BytesIO(one.content)).size) == 100
    many = visitor.get("/take/portraits.zip", params={"person": things.person, "format": "png"})
    assert zipfile.ZipFile(io.BytesIO(many.content)).namelist() == [name]
    sheet = visitor.get(f"/take/sheet/{things.portrait}", params={"paper": "a4", "width": "40.5", "gap": 3})
    assert (sheet.headers["content-type"], sheet.content[:4]) == ("application/pdf", b"%PDF")
    assert visitor.get(f"/take/sheet/{things.portrait}", params={"format": "exe"}).status_code == 404
    assert visitor.get("/take/portrait/portrait_none").status_code == 404
    assert visitor.get("/take/portrait/a%20b").status_code == 404
    assert app_client().get(f"/take/sheet/{things.portrait}").status_code == 401
