"""The OpenAPI document: operation ids that clients are generated from, texts, headers that really come, typed fields."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tasks.api import openapi
from tests.tasks.api.harness import ApiHarness
from tests.tasks.api.routes import request_body, routes, url_of

OPERATION_IDS = """
add_consent
add_model
add_selfies
block_face
block_person
cancel_any_job
cancel_job
check_draft
clear_face
create_device_code
create_generation
create_key
create_person
create_training
create_webhook
delete_draft
delete_identity
delete_portrait
delete_selfie
delete_template
delete_webhook
disable_owner
download_portraits
edit_portrait
enable_owner
end_all_sessions
end_current_session
end_session
erase_for_owner
erase_me
erase_person
export_me
export_owner
export_styles
get_any_job
get_before
get_before_file
get_consent_text
get_draft_picture
get_erasure
get_health
get_job
get_job_log
get_job_preview
get_me
get_metrics
get_neighbours
get_oidc
get_operator_style
get_person
get_portrait
get_portrait_file
get_quotas
get_readiness
get_sample_render
get_selfie
get_selfie_crop
get_selfie_file
get_sheet
get_statistics
get_style
get_style_preview
get_style_sample
get_style_schema
get_style_statistics
get_template
get_template_file
get_version_picture
get_webhook
import_styles
invite_owner
list_abilities
list_age_questions
list_all_erasures
list_all_jobs
list_audit
list_blocked_people
list_consent_proofs
list_consents
list_deliveries
list_erasures
list_identities
list_jobs
list_keys
list_models
list_operator_styles
list_owners
list_people
list_portraits
list_presets
list_queues
list_selfies
list_sessions
list_style_traits
list_styles
list_templates
list_webhooks
list_workers
mark_ended
mark_seen
open_session
place_order
prune_jobs
publish_draft
redeliver
remake_portrait
remove_model
remove_owner
rename_person
restore_portrait
restore_selfie
restore_template
retire_style
retry_any_job
retry_job
revoke_key
set_draft_picture
settle_age
sign_in
sign_owner_out
start_oidc
state_template
stream_job_events
test_draft
test_webhook
unblock_person
update_any_job
update_portrait
update_selfie
upload_template
verify_picture
withdraw_consent
write_draft
""".split()  # noqa: SIM905 -- one a line
"""Names of methods in generated clients: a new route adds one, and none changes."""


def operations(api: ApiHarness) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Method, path and description of each."""
    for path, methods in api.app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_operation_ids_are_the_names_of_the_route_functions(api: ApiHarness) -> None:
    assert sorted(each["operationId"] for _, _, each in operations(api)) == OPERATION_IDS
    assert all(each["description"] for _, _, each in operations(api))


def test_summaries_are_the_first_words_of_descriptions(api: ApiHarness) -> None:
    for _, _, each in operations(api):
        summary = each["summary"]
        assert 3 < len(summary) <= 128, summary
        assert summary[0].isupper()
        assert not re.search("[`:;.]$", summary), summary
        assert each["description"].replace("`", "").replace("\n", " ").startswith(summary)
    assert openapi.summary("Cancel a job: at once\nwhile it waits.") == "Cancel a job"
    assert openapi.summary("One `job.failed` of\nall. More.") == "One job.failed of all"


def test_tags_have_texts_and_the_document_says_where_it_holds(api: ApiHarness) -> None:
    document = api.app.openapi()
    used = {tag for _, _, each in operations(api) for tag in each["tags"]}
    assert {each["name"] for each in document["tags"]} == used == set(openapi.TAGS)
    assert all(each["description"] for each in document["tags"])
    assert [each["url"] for each in document["servers"]] == ["/"]
    assert "cursor" in document["info"]["description"]


def test_problems_say_which_codes_there_are(api: ApiHarness) -> None:
    responses = {status: each for _, _, one in operations(api) for status, each in one["responses"].items()}
    assert "`code` is one of" in responses["409"]["description"]
    assert "`draft_changed`" in responses["409"]["description"]
    assert responses["410"]["description"].endswith("`code` is `erased`.")
    assert responses["422"]["content"]["application/problem+json"]["schema"]["$ref"].endswith("/Problem")
    for status in ("429", "503"):
        assert set(responses[status]["headers"]) == {"Retry-After"}


def test_headers_that_are_documented_come(api: ApiHarness) -> None:
    """Each route is asked with what an admin has; who answers well has the headers that its document names, and no others."""
    things, admin = api.one_of_each("root"), api.client("root", "admin")
    documented = {(method.upper(), path.removeprefix("/v1")): each for method, path, each in operations(api)}
    seen: dict[str, int] = {"Location": 0, "Retry-After": 0, "ETag": 0}
    # What deletes comes last, so that there is something to ask about until then.
    for route in sorted(routes(api.app), key=lambda each: (each.method == "DELETE", each.path)):
        if route.path == "/jobs/{id}/events" or route.path.startswith("/operator/models"):
            continue
        answer = admin.request(route.method, url_of(route, things), **request_body(route, things))
        responses = documented[route.method, route.path]["responses"]
        if answer.is_success and answer.status_code != 206:
            named = responses[str(answer.status_code)].get("headers", {})
            for header in seen:
                # A job that has ended is not asked again; pictures that were made small have no tag.
                small = answer.headers.get("content-type", "").startswith("image/")
                sometimes = (header == "Retry-After" and route.path == "/jobs/{id}") or (header == "ETag" and small)
                assert (header in answer.headers) == (header in named) or sometimes, (route, header)
                seen[header] += header in answer.headers
    assert seen["Location"] >= 7
    assert seen["Retry-After"] >= 2
    assert seen["ETag"] > 30


def test_what_was_said_before_says_so(api: ApiHarness) -> None:
    asks = {each["operationId"] for _, _, each in operations(api) if "Idempotent-Replayed" in str(each["responses"])}
    assert {"create_person", "create_generation", "place_order", "create_webhook", "test_draft"} <= asks
    person, client = api.prepared_person(), api.client()
    order = {"people": {"1": person}, "style": "studio-warm"}
    answers = [client.post("/generations", json=order, headers={"Idempotency-Key": "one"}) for _ in range(2)]
    assert [each.headers.get("idempotent-replayed") for each in answers] == [None, "true"]


def test_a_stream_says_what_its_events_are(api: ApiHarness) -> None:
    document = api.app.openapi()
    stream = document["paths"]["/v1/jobs/{id}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    item = stream["itemSchema"]
    assert item["properties"]["event"]["enum"] == ["state", "progress", "standing"]
    assert item["properties"]["data"]["contentSchema"] == {"$ref": "#/components/schemas/JobEvent"}
    assert {"state", "phase", "place", "missing"} <= set(document["components"]["schemas"]["JobEvent"]["properties"])


@pytest.mark.parametrize(
    ("schema", "field", "fields"),
    [
        ("Job", "wants", {"person", "people", "style", "count", "seed", "technique", "edit"}),
        ("Job", "result", {"portraits", "identity", "faces"}),
        ("Portrait", "recipe", {"seed", "count", "candidate", "style", "people", "drawn"}),
    ],
)
def test_what_a_job_wants_and_gives_is_typed(api: ApiHarness, schema: str, field: str, fields: set[str]) -> None:
    schemas = api.app.openapi()["components"]["schemas"]
    described = schemas[schema]["properties"][field]
    reference = described.get("$ref") or described["allOf"][0]["$ref"]
    part = schemas[reference.rpartition("/")[2]]
    assert fields <= set(part["properties"])
    assert part["additionalProperties"] is True, "earlier versions wrote other fields"
    assert not part.get("required")


def test_what_a_job_wanted_is_told_as_it_was_written(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    told = client.get(f"/jobs/{things.drawn}").json()
    stored = api.context.ledger.jobs.get("ann", things.drawn)
    assert (told["wants"], told["result"]) == (stored.params, stored.result)
    assert client.get(f"/portraits/{things.portrait}").json()["recipe"] == {"seed": 1}


def test_lists_can_be_asked_for_in_pages(api: ApiHarness) -> None:
    """Whatever answers with a page takes `limit` and `cursor`."""
    schemas = api.app.openapi()["components"]["schemas"]
    pages = {name for name, each in schemas.items() if {"items", "next"} <= set(each.get("properties", {}))}
    lists = []
    for method, path, each in operations(api):
        content = each["responses"].get("200", {}).get("content", {}).get("application/json", {})
        if method == "get" and content.get("schema", {}).get("$ref", "").rpartition("/")[2] in pages:
            lists.append(path)
            assert {"limit", "cursor"} <= {parameter["name"] for parameter in each["parameters"]}, path
    assert len(lists) > 25
    assert {"/v1/keys", "/v1/styles", "/v1/operator/workers", "/v1/people/{id}/selfies"} <= set(lists)
