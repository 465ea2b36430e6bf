"""The OpenAPI document: operation ids that clients are generated from, summaries and tags."""

from tests.tasks.api.harness import ApiHarness

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
update_portrait
update_selfie
upload_template
verify_picture
withdraw_consent
write_draft
""".split()  # noqa: SIM905 -- one a line
"""Names of methods in generated clients: a new route adds one, and none changes."""
TAGS = {
    "jobs",
    "keys",
    "me",
    "operator",
    "operator styles",
    "people",
    "portraits",
    "selfies",
    "sessions",
    "styles",
    "system",
    "webhooks",
}


def test_operation_ids_are_the_names_of_the_route_functions(api: ApiHarness) -> None:
    operations = [each for methods in api.app.openapi()["paths"].values() for each in methods.values()]
    assert sorted(each["operationId"] for each in operations) == OPERATION_IDS
    assert all(each["summary"] == each["operationId"].replace("_", " ").title() for each in operations)
    assert {tag for each in operations for tag in each["tags"]} == TAGS
    assert all(each["description"] for each in operations)
