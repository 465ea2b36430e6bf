"""Styles of operators through the API: drafts, findings, versions, packs, refusals."""

import io
import json
import stat
import time
import zipfile
from typing import Any

import pytest
import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger import tables
from tasks.ledger.rows import DraftFindings, WorkerRow
from tasks.ledger.styles import record_findings
from tasks.styles.service import StyleService
from templates.hashes import check_hash
from tests import packs
from tests.tasks.api.harness import STUDIO, ApiHarness, picture, run_concurrently

TOML = 'schema = 1\nid = "mine"\nkind = "studio"\ntitle = "Mine"\nbackdrop = "studio-grey"\nlicence = "CC0-1.0"\n'


def write(api: ApiHarness, content: dict[str, Any], edition: str | None = None, status: int = 200) -> dict[str, Any]:
    body = {"content": content, "edition": edition}
    answer = api.client("olga", "operator").put(f"/operator/styles/{content['id']}/draft", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_people_see_what_is_published_and_nothing_else(api: ApiHarness) -> None:
    olga, ann = api.client("olga", "operator"), api.client()
    draft = write(api, STUDIO)["draft"]
    assert draft["publishable"]
    assert ann.get("/styles/mine").status_code == 404
    published = olga.post("/operator/styles/mine/publish", json={"edition": draft["edition"]})
    assert published.json()["version"] == 1, published.text
    assert ann.get("/styles/mine").json()["title"] == "Mine"
    assert "mine" in {each["id"] for each in ann.get("/styles").json()["items"]}
    person = api.prepared_person()
    job = ann.post("/generations", json={"people": {"1": person}, "style": "mine"}).json()
    assert job["wants"]["version"] == 1
    write(api, STUDIO | {"retouch": 0.8})
    assert olga.post("/operator/styles/mine/publish", json={}).json()["version"] == 2
    own = olga.post("/operator/styles/mine/retire", params={"version": 2}).json()
    assert (own["status"], own["offered"], own["draft"]) == (["published"], 1, None)
    assert [each["version"] for each in own["versions"]] == [2, 1]
    assert olga.post("/operator/styles/mine/retire").json()["status"] == ["retired"]
    assert ann.get("/styles/mine").status_code == 404
    listed = olga.get("/operator/styles", params={"status": ["retired"]}).json()["items"]
    assert [each["id"] for each in listed] == ["mine"]
    built_in = olga.get("/operator/styles", params={"status": "built-in", "kind": "studio"}).json()["items"]
    assert "studio-warm" in {each["id"] for each in built_in}


def test_faults_are_listed_by_field_and_keep_a_style_from_being_published(api: ApiHarness) -> None:
    olga = api.client("olga", "operator")
    faulty = {
        "schema": 1,
        "id": "mine",
        "kind": "text",
        "title": "Mine",
        "licence": "?",
        "prompt": "{who} {colour}, nsfw",
    }
    draft = write(api, faulty)["draft"]
    assert {each["code"] for each in draft["findings"]} == {"licence_missing", "unknown_placeholder", "unsafe_word"}
    refused = olga.post("/operator/styles/mine/publish", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "style_faults")
    assert {each["where"] for each in refused.json()["errors"]} == {"licence", "prompt"}
    wrong = write(api, faulty | {"retouch": 7, "colour": "red"}, draft["edition"], 422)
    assert wrong["code"] == "bad_style"
    assert {each["where"] for each in wrong["errors"]} == {"retouch", "colour"}
    mended = write(api, faulty | {"licence": "CC0-1.0", "prompt": "{who} in a garden"}, draft["edition"])
    assert mended["draft"]["findings"] == []
    assert olga.post("/operator/styles/mine/publish", json={}).json()["version"] == 1


def test_of_two_operators_at_once_one_gets_draft_changed(api: ApiHarness) -> None:
    edition = write(api, STUDIO)["draft"]["edition"]
    api.key("olga", "operator")

    def change(number: int) -> int:
        body = {"content": STUDIO | {"title": f"By {number}"}, "edition": edition}
        return api.client("olga", "operator").put("/operator/styles/mine/draft", json=body).status_code

    assert sorted(run_concurrently(4, change)) == [200, 409, 409, 409]
    present = api.client("olga", "operator").get("/operator/styles/mine").json()["draft"]["edition"]

    def publish(_: int) -> int:
        answer = api.client("olga", "operator").post("/operator/styles/mine/publish", json={"edition": present})
        return answer.status_code

    assert sorted(run_concurrently(3, publish)) == [200, 409, 409]
    edition = write(api, STUDIO)["draft"]["edition"]
    write(api, STUDIO | {"title": "Anew"}, edition)
    assert write(api, STUDIO, None, 409)["code"] == "draft_changed"
    deleted = api.client("olga", "operator").delete("/operator/styles/mine/draft", params={"edition": edition})
    assert deleted.status_code == 409
    assert api.client("olga", "operator").delete("/operator/styles/mine/draft").status_code == 204
    files = [path for path in api.stored_files() if path.startswith("styles")]
    assert files == ["styles/published/mine/1/style.toml"]


def test_a_template_gets_its_picture_and_is_checked(api: ApiHarness) -> None:
    olga = api.client("olga", "operator")
    hall = STUDIO | {"kind": "template", "picture": {"file": "picture.png"}, "credit": "me"}
    del hall["backdrop"]
    draft = write(api, hall)["draft"]
    assert ([each["code"] for each in draft["findings"]], draft["picture"]) == (["picture_missing"], False)
    assert olga.get("/operator/styles/mine/draft/picture").status_code == 404
    late = {"edition": "edition_x"}
    sent = {"file": ("a.png", picture(3, side=640))}
    assert olga.post("/operator/styles/mine/picture", files=sent, params=late).status_code == 409
    draft = olga.post("/operator/styles/mine/picture", files=sent, params={"edition": draft["edition"]}).json()["draft"]
    assert (draft["picture"], draft["checked"], draft["publishable"]) == (True, False, False)
    assert olga.get("/operator/styles/mine/draft/picture").content == picture(3, side=640)
    assert olga.post("/operator/styles/mine/publish", json={}).json()["code"] == "style_unchecked"
    job = olga.post("/operator/styles/mine/check")
    assert (job.status_code, job.json()["kind"]) == (202, "check")
    service = StyleService(api.context.ledger, api.context.files)
    entry = service.entry(service.draft("mine"))
    finding = {"code": "no_face", "level": "error", "where": "picture", "tip": "No face was found."}
    with api.context.ledger.database.write() as connection:
        record_findings(
            connection, DraftFindings("mine", draft["edition"], {"of": check_hash(entry), "findings": [finding]})
        )
    assert olga.post("/operator/styles/mine/publish", json={}).json()["errors"][0]["code"] == "no_face"
    with api.context.ledger.database.write() as connection:
        record_findings(connection, DraftFindings("mine", draft["edition"], {"of": check_hash(entry), "findings": []}))
    assert olga.post("/operator/styles/mine/publish", json={}).json()["version"] == 1
    assert olga.get("/operator/styles/mine/versions/1/picture").content == picture(3, side=640)
    assert api.client().get("/styles/mine/preview").headers["content-type"] == "image/jpeg"
    assert olga.get("/operator/styles/mine/versions/2/picture").status_code == 404


@pytest.mark.parametrize(
    "place",
    [
        {"package": "six", "path": "six.py"},
        {"package": "no.such", "path": "a.png"},
        {"package": "this.x", "path": "a.png"},
        {"package": "unittest.__main__.x", "path": "a.png"},
        {"package": "skimage", "path": "data/README.txt"},
    ],
)
def test_a_style_from_outside_names_no_package(api: ApiHarness, place: dict[str, str]) -> None:
    hall = STUDIO | {"kind": "template", "picture": place}
    del hall["backdrop"]
    refused = write(api, hall, None, 422)
    assert (refused["code"], {each["where"] for each in refused["errors"]}) == ("bad_style", {"picture"})
    toml = TOML.replace(
        'backdrop = "studio-grey"', f"picture = {{ package = {place['package']!r}, path = {place['path']!r} }}"
    )
    sent = {"files": ("style.toml", toml.replace('"studio"', '"template"').encode())}
    answer = api.client("olga", "operator").post("/operator/styles/import", files=sent)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_style")
    assert api.stored_files() == []


def test_a_draft_that_does_not_hold_any_more_breaks_nothing_but_itself(api: ApiHarness) -> None:
    olga, ann = api.client("olga", "operator"), api.client()
    write(api, STUDIO | {"id": "other"})
    write(api, STUDIO)
    olga.post("/operator/styles/mine/publish", json={})
    write(api, STUDIO)
    content = STUDIO | {"kind": "template", "picture": {"package": "no.such", "path": "a.png"}}
    ledger = api.context.ledger.database
    with ledger.write() as connection:  # as earlier versions accepted it
        for table in (tables.style_drafts, tables.style_versions):
            connection.execute(sa.update(table).where(table.c.id == "mine").values(content=content))
    listed = {each["id"]: each for each in olga.get("/operator/styles").json()["items"]}
    assert listed["other"]["draft"]["publishable"]
    mine = listed["mine"]["draft"]
    assert ([each["code"] for each in mine["findings"]], mine["publishable"]) == (["style_broken"], False)
    assert "mine" not in {each["id"] for each in ann.get("/styles").json()["items"]}
    assert olga.get("/operator/styles/mine/draft/picture").status_code == 503
    mended = write(api, STUDIO, mine["edition"])
    assert (mended["draft"]["findings"], mended["draft"]["publishable"]) == ([], True)


def test_what_is_no_picture_is_not_sent_as_one(api: ApiHarness) -> None:
    olga = api.client("olga", "operator")
    hall = STUDIO | {"kind": "template", "picture": {"file": "style.toml"}}
    del hall["backdrop"]
    draft = write(api, hall)["draft"]
    answer = olga.get("/operator/styles/mine/draft/picture")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    place = api.context.files.draft("mine", draft["edition"])
    (place / "style.toml").write_text("<svg onload='x()'>")
    assert olga.get("/operator/styles/mine/draft/picture").status_code == 404


def test_styles_go_out_as_a_pack_and_come_in_elsewhere(api: ApiHarness) -> None:
    olga = api.client("olga", "operator")
    write(api, STUDIO)
    out = olga.get("/operator/style-pack", params={"id": ["mine", "astronaut"]})
    assert out.headers["content-type"] == "application/zip"
    again = olga.post("/operator/styles/import", files=[("files", ("styles.zip", out.content))])
    assert (again.status_code, again.json()["code"]) == (409, "style_exists")
    olga.delete("/operator/styles/mine/draft")
    imported = olga.post("/operator/styles/import", files=[("files", ("styles.zip", out.content))])
    assert imported.status_code == 201
    assert [each["id"] for each in imported.json()["styles"]] == ["astronaut", "mine"]
    assert olga.get("/operator/style-pack", params={"id": "nobody"}).status_code == 404
    assert [name for name in api.stored_files() if name.startswith("incoming")] == []


def test_styles_of_other_tools_are_imported_and_skipped_content_is_listed(api: ApiHarness) -> None:
    olga = api.client("olga", "operator")
    chain = json.dumps({"name": "Office", "add_prompt_style": "in a suit", "model_id": "x/y", "colour": 1}).encode()
    imported = olga.post("/operator/styles/import", files=[("files", ("office.json", chain))]).json()
    assert imported["styles"][0]["draft"]["content"]["loras"][0]["model"].startswith("y_")
    assert {each["field"] for each in imported["left"]} >= {"model_id", "colour"}
    easy = [("files", (f"{name}.jpg", picture(at, format="JPEG"))) for at, name in enumerate(("suit", "dress"))]
    imported = olga.post("/operator/styles/import", files=easy).json()
    assert [each["kind"] for each in imported["styles"]] == ["template", "template"]
    assert "licence_missing" in {each["code"] for each in imported["styles"][0]["draft"]["findings"]}


def linked() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        info = zipfile.ZipInfo("mine/a.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(info, "/etc/passwd")
    return content.getvalue()


def bomb() -> bytes:
    """Small on the wire; its list says ten gigabytes."""
    content = bytearray(packs.pack({"mine/style.toml": TOML.encode(), "mine/a.txt": b"0" * 100}))
    at = content.rfind(b"PK\x01\x02")
    content[at + 24 : at + 28] = (4_294_000_000).to_bytes(4, "little")
    return bytes(content)


def duplicate_names() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        made.writestr("mine/a.txt", "x")
        made.writestr("mine/A.txt", "x")
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.zip", packs.pack({"../evil/style.toml": TOML.encode()}), "leads out of its folder"),
        ("a.zip", packs.pack({"/etc/style.toml": TOML.encode()}), "leads out of its folder"),
        ("a.zip", linked(), "link or device"),
        ("a.zip", bomb(), "larger than"),
        ("a.zip", packs.pack({"mine/style.toml": TOML.encode()}, {"mine/style.toml"}), "hash differs"),
        ("a.zip", duplicate_names(), "two files of it"),
        ("a.zip", b"not a zip", "no whole zip"),
        ("../../a.zip", b"PK\x03\x04", "no whole zip"),
        ("a.toml", TOML.encode() + b"# " + b"x" * 50_000_000, "larger than a style can be"),
        ("a.zip", packs.pack({"mine/style.toml": TOML.encode() + b"# " + b"x" * 50_000_000}), "larger than"),
        ("a.json", b"[" * 100_000, "no style to import"),
        (".hidden.json", b"{}", "no style to import"),
        ("a.jpg", b"<html>", "not a JPEG"),
        ("a.exe", b"MZ", "neither a JSON style nor a JPEG"),
    ],
    ids=lambda given: given[:24] if isinstance(given, str) else "",
)
def test_hostile_uploads_are_refused_with_the_reason_and_nothing_is_written(
    api: ApiHarness, name: str, content: bytes, reason: str
) -> None:
    olga = api.client("olga", "operator")
    answer = olga.post("/operator/styles/import", files=[("files", (name, content))])
    assert answer.status_code == 422, answer.text
    assert reason in answer.json()["detail"]
    assert str(api.context.files.root) not in answer.text
    assert api.stored_files() == []
    assert olga.get("/operator/styles", params={"status": "draft"}).json()["items"] == []


def test_two_uploads_of_one_name_are_refused(api: ApiHarness) -> None:
    olga = api.client("olga", "operator")
    files = [("files", ("a.jpg", picture(at, format="JPEG"))) for at in range(2)]
    assert "Two files" in olga.post("/operator/styles/import", files=files).json()["detail"]
    mixed = [("files", ("a.zip", b"x")), ("files", ("b.json", b"{}"))]
    assert "by itself" in olga.post("/operator/styles/import", files=mixed).json()["detail"]
    assert api.stored_files() == []


def test_a_style_reports_how_its_versions_do(api: ApiHarness) -> None:
    olga = api.client("olga", "operator")
    things = api.one_of_each()
    api.client().patch(f"/portraits/{things.portrait}", json={"favourite": True})
    report = olga.get("/operator/styles/studio-warm/figures").json()
    assert report["total"] | {"version": 1} == report["versions"][0]
    assert (report["total"]["uses"], report["total"]["portraits"], report["total"]["favourites"]) == (1, 1, 1)
    assert report["total"]["likeness_median"] == 0.4
    job = api.context.ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60)
    assert job is not None
    api.context.ledger.queue.fail(job, time.time(), UserError("nobody", "Nobody."))
    total = olga.get("/operator/styles/studio-warm/figures").json()["total"]
    assert (total["uses"], total["portraits"], total["failures"]) == (2, 1, 1)
    every = olga.get("/operator/figures").json()["styles"]
    assert [(each["style"], each["failures"]) for each in every] == [("studio-warm", 1)]
    assert olga.get("/operator/styles/nobody/figures").status_code == 404
    assert "prompt" in olga.get("/operator/style-schema").json()["properties"]


def test_a_portrait_is_remade_from_its_recipe(api: ApiHarness) -> None:
    things, ann = api.one_of_each(), api.client()
    assert ann.post(f"/portraits/{things.portrait}/remake").json()["code"] == "no_recipe"


def test_a_test_waits_for_a_worker_that_can_draw_it_and_says_what_it_takes(api: ApiHarness) -> None:
    olga, now = api.client("olga", "operator"), time.time()
    lacks = {"draw:text": ["The model sd15 is not here."]}
    api.context.ledger.workers.register(WorkerRow("w", ["gpu.generate"], ["prepare", "look"], lacks, "cuda", now, now))
    words = {
        "schema": 1,
        "id": "mine",
        "kind": "text",
        "title": "Mine",
        "licence": "CC0-1.0",
        "prompt": "{who} in a garden",
    }
    edition = write(api, words)["draft"]["edition"]
    job = olga.post("/operator/styles/mine/test").json()
    assert (job["queue"], job["missing"]) == ("gpu.generate", ["The model sd15 is not here."])
    hall = {each: STUDIO[each] for each in ("schema", "id", "title", "licence")} | {"kind": "template"}
    write(api, hall | {"picture": {"file": "picture.jpg"}, "engines": ["diffusion"]}, edition)
    assert olga.post("/operator/styles/mine/test").json()["queue"] == "gpu.generate"
    write(api, STUDIO | {"id": "plain"})
    assert olga.post("/operator/styles/plain/test").json()["queue"] == "cpu"


def test_a_draft_is_tried_out_on_ones_own_people_and_on_nobody_elses(api: ApiHarness) -> None:
    olga = api.client("olga", "operator")
    write(api, STUDIO)
    own, other = api.prepared_person("olga", "Ann"), api.prepared_person("ann", "Ann")
    refused = olga.post("/operator/styles/mine/test", json={"people": [own, other]})
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    job = olga.post("/operator/styles/mine/test", json={"people": [own]}).json()
    assert job["wants"]["people"] == {"1": own}
    olga.delete(f"/people/{own}/consents")
    refused = olga.post("/operator/styles/mine/test", json={"people": [own]})
    assert (refused.status_code, refused.json()["code"]) == (403, "consent_withdrawn")


def test_a_trial_on_ones_own_person_is_seen_by_oneself_never_on_a_card_and_erased_with_them(api: ApiHarness) -> None:
    olga, otto = (api.client(each, "operator") for each in ("olga", "otto"))
    write(api, STUDIO)
    own, context = api.prepared_person("olga", "Ann"), api.context
    draft = context.ledger.drafts.get("mine")
    folder = context.files.style_test("mine", draft.edition)
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(picture(1, format="JPEG"))
    samples = [{"number": 1, "sitter": "", "person": own, "distance": 0.3, "step": 0, "fault": ""}]
    tested = {"job": "job_1", "edition": draft.edition, "at": 1.0, "samples": samples}
    context.ledger.drafts.record_findings(DraftFindings("mine", draft.edition, None, tested))
    assert olga.get("/operator/styles/mine/test/1").status_code == 200
    assert otto.get("/operator/styles/mine/test/1").status_code == 404
    refused = olga.post("/operator/styles/mine/publish", json={"card": 1})
    assert (refused.status_code, refused.json()["code"]) == (422, "private_sample")
    assert olga.delete(f"/people/{own}").status_code == 200
    assert not folder.exists()
    assert olga.get("/operator/styles/mine").json()["draft"]["test"] is None
    assert olga.post("/operator/styles/mine/publish", json={}).status_code == 200
    assert not (context.files.style("mine", 1) / "preview.jpg").exists()
