"""Styles of operators through the client, against a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from portrait.errors import UserError
from tasks import schemas
from tasks.client.client import Client
from tests.tasks.api.harness import STUDIO, ApiServer, api_server, environment, new_home, open_api, picture

pytestmark = pytest.mark.services


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with open_api(environment(new_home(tmp_path / "home"))) as api, api_server(api) as server:
        yield server


def test_a_style_from_draft_to_retired(server: ApiServer) -> None:
    with Client(server.url, server.api.key("olga", "operator")) as olga:
        assert "prompt" in olga.style_schema()["properties"]
        draft = olga.write_draft("mine", STUDIO).draft
        assert draft is not None
        with pytest.raises(UserError) as caught:
            olga.write_draft("mine", STUDIO | {"title": "Late"})
        assert caught.value.code == "draft_changed"
        with pytest.raises(UserError) as caught:
            olga.write_draft("mine", STUDIO | {"retouch": 9}, draft.edition)
        assert caught.value.details["errors"][0]["where"] == "retouch"
        job = olga.check_style("mine")
        assert (job.kind, job.missing) == ("check", ["No worker for it is running. An operator can start one."])
        assert olga.test_style("mine").kind == "test"
        assert olga.publish_style("mine", draft.edition).version == 1
        assert [each.id for each in olga.operator_styles(["published"])] == ["mine"]
        pack = b"".join(olga.style_pack(["mine"]))
        imported = olga.import_styles([("mine.zip", pack)])
        assert imported.styles[0].status == ["draft", "published"]
        olga.delete_draft("mine")
        assert olga.retire_style("mine", 1).status == ["retired"]
        assert olga.style_report("mine").total.uses == 0


def test_a_template_and_its_pictures(server: ApiServer) -> None:
    hall = {each: STUDIO[each] for each in ("schema", "id", "title", "licence")}
    hall |= {"kind": "template", "picture": {"file": "picture.png"}, "credit": "me"}
    with Client(server.url, server.api.key("olga", "operator")) as olga:
        draft = olga.write_draft("mine", hall).draft
        assert draft is not None
        own = olga.set_style_picture("mine", "a.png", picture(3), draft.edition)
        assert own.draft is not None
        assert own.draft.picture
        assert olga.draft_picture("mine") == picture(3)
        with pytest.raises(UserError) as caught:
            olga.style_sample("mine", 1)
        assert caught.value.code == "not_found"
        with pytest.raises(UserError) as caught:
            olga.version_picture("mine", 1)
        assert caught.value.code == "unknown_style"


def test_an_id_photo_has_the_size_of_its_rule_and_can_be_remade(server: ApiServer) -> None:
    api = server.api
    person = api.prepared_person()
    order = {"people": {"1": person}, "style": "idphoto-us"}
    with Client(server.url, api.key()) as ann:
        sized = schemas.GenerationRequest.model_validate(order | {"size": {"width": 640, "height": 800}})
        with pytest.raises(UserError) as caught:
            ann.generate(sized)
        assert caught.value.code == "bad_size"
        ann.generate(schemas.GenerationRequest.model_validate(order))
        portrait = api.complete_next_job("draw:idphoto").result["portraits"][0]
        with pytest.raises(UserError) as caught:
            ann.remake(portrait)
        assert caught.value.code == "no_recipe", "what the desk draws carries none"
