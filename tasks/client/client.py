"""Typed client of the task API, with one method a route; requests that are safe to repeat are retried.

Errors are those of `portrait.errors`, with the API's code and message; `details` holds `status`, `errors` (photo by photo)
and `retry_after` where the API said so. An API that does not answer is `OperatorError` (`api_unreachable`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Literal

import httpx

from portrait.errors import UserError
from tasks import schemas
from tasks.client.access import AccessClient
from tasks.client.privacy import PrivacyClient
from tasks.client.transport import TRIES, HttpTransport, M

Files = Iterable[tuple[str, BinaryIO | bytes]]
"""Name and content."""


class Client(AccessClient, PrivacyClient):
    """A client of the task API with one key; use it as a context manager."""

    def __init__(
        self, url: str, key: str = "", timeout: float = 30.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = HttpTransport(url, key, timeout, transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # People

    def consent_text(self, language: str = "en") -> schemas.ConsentText:
        """The present text of consent, to be shown before somebody agrees."""
        return self._http.get(schemas.ConsentText, "/consent-text", params={"language": language})

    def add_person(self, name: str, text_version: str, given_by: str, **stated: Any) -> schemas.Person:
        """Add a person, with the version of the consent text and who agreed to it; `stated` as in `ConsentRequest`."""
        given = schemas.ConsentRequest(agreed=True, text_version=text_version, given_by=given_by, **stated)
        return self._http.post(schemas.Person, "/people", schemas.PersonRequest(name=name, consent=given))

    def people(self) -> list[schemas.Person]:
        """The caller's people, the newest first."""
        return self._http.list(schemas.Person, "/people")

    def person(self, id: str) -> schemas.Person:
        """One person."""
        return self._http.get(schemas.Person, f"/people/{id}")

    def rename_person(self, id: str, name: str) -> schemas.Person:
        """Change a person's name."""
        return self._http.send(schemas.Person, "PATCH", f"/people/{id}", json={"name": name})

    def erase_person(self, id: str) -> schemas.Erased:
        """Erase a person and everything made from their photos."""
        return self._http.send(schemas.Erased, "DELETE", f"/people/{id}", tries=1)

    def consents(self, person: str) -> list[schemas.Consent]:
        """Records of consent, the oldest first."""
        return self._http.list(schemas.Consent, f"/people/{person}/consents")

    def consent_again(self, person: str, text_version: str, given_by: str, **stated: Any) -> schemas.Consent:
        """Record consent again, after it was withdrawn or to a newer text; `stated` as in `ConsentRequest`."""
        given = schemas.ConsentRequest(agreed=True, text_version=text_version, given_by=given_by, **stated)
        return self._http.post(schemas.Consent, f"/people/{person}/consents", given)

    def withdraw_consent(self, person: str) -> None:
        """Withdraw consent: nothing more is made of the person."""
        self._http.request("DELETE", f"/people/{person}/consents")

    # Photos

    def add_selfies(self, person: str, files: Files) -> schemas.SelfieUploadResult:
        """Upload photos; those that cannot be read are listed by name in `refused`."""
        return self._upload(schemas.SelfieUploadResult, f"/people/{person}/selfies", files)

    def selfies(self, person: str) -> list[schemas.Selfie]:
        """A person's photos with their verdicts."""
        return self._http.list(schemas.Selfie, f"/people/{person}/selfies")

    def set_override(self, selfie: str, override: schemas.PhotoOverride) -> schemas.Selfie:
        """Include or exclude a photo, or (empty) leave the choice to the training."""
        return self._http.send(schemas.Selfie, "PATCH", f"/selfies/{selfie}", json={"wish": override})

    def delete_selfie(self, id: str, learned: Literal["keep", "erase"] = "keep") -> None:
        """Delete a photo and its crops, and on demand the LoRAs that were trained on it."""
        self._http.request("DELETE", f"/selfies/{id}", params={"learned": learned})

    def identities(self, person: str) -> list[schemas.Identity]:
        """What a person can be drawn from, the newest first."""
        return self._http.list(schemas.Identity, f"/people/{person}/identities")

    def delete_identity(self, id: str) -> None:
        """Delete an identity: a LoRA, or where photos were judged alone their crops and references."""
        self._http.request("DELETE", f"/identities/{id}")

    def selfie_file(self, id: str, side: int | None = None) -> bytes:
        """A photo as it was uploaded, or as a JPEG with a long side of `side` pixels."""
        return self._http.picture(f"/selfies/{id}/file", side)

    def selfie_crop(self, id: str, side: int | None = None) -> bytes:
        """The training crop of a photo; raises `not_found` for one that was not used."""
        return self._http.picture(f"/selfies/{id}/crop", side)

    # Jobs

    def train(self, order: schemas.TrainingRequest) -> schemas.Job:
        """Queue a training: photos are judged and, with a base, a LoRA is trained."""
        return self._http.post(schemas.Job, "/trainings", order)

    def generate(self, order: schemas.GenerationRequest) -> schemas.Job:
        """Queue portraits of one style, or in an uploaded picture."""
        return self._http.post(schemas.Job, "/generations", order)

    def edit(self, portrait: str, order: schemas.EditRequest) -> schemas.Job:
        """Queue an edit of a portrait."""
        return self._http.post(schemas.Job, f"/portraits/{portrait}/edits", order)

    def jobs(self, states: Sequence[str] = (), kind: str = "", all_owners: bool = False) -> list[schemas.Job]:
        """The newest 200 jobs, the newest first; those of all owners for operators."""
        params: dict[str, Any] = {"state": list(states), "limit": 200} | ({"kind": kind} if kind else {})
        path = "/operator/jobs" if all_owners else "/jobs"
        return self._http.get(schemas.Page[schemas.Job], path, params=params).items

    def job(self, id: str) -> schemas.Job:
        """One job."""
        return self._http.get(schemas.Job, f"/jobs/{id}")

    def cancel(self, id: str, any_owner: bool = False) -> schemas.Job:
        """Cancel a job; raises `bad_transition` when it has ended."""
        return self._http.post(schemas.Job, f"{'/operator' if any_owner else ''}/jobs/{id}/cancel")

    def retry(self, id: str, any_owner: bool = False) -> schemas.Job:
        """Queue a job again that did not succeed; sent once, because a second retry may find it running."""
        path = f"{'/operator' if any_owner else ''}/jobs/{id}/retry"
        return self._http.send(schemas.Job, "POST", path, tries=1)

    def preview(self, job: str) -> bytes | None:
        """The newest preview of a running job as a JPEG; None while there is none."""
        try:
            return self._http.picture(f"/jobs/{job}/preview", None)
        except UserError as error:
            if error.code == "not_found":
                return None
            raise

    def follow(self, job: str) -> Iterator[schemas.JobEvent]:
        """Events of a job until it ends; a stream that breaks off resumes where it stopped."""
        return self._http.events(f"/jobs/{job}/events")

    def wait(self, job: str, on_event: Callable[[schemas.JobEvent], None] | None = None) -> schemas.Job:
        """Follow a job to its end and return it; `on_event` is called with each event."""
        for event in self.follow(job):
            if on_event is not None:
                on_event(event)
        return self.job(job)

    # Portraits

    def portraits(self, person: str = "", job: str = "", favourite: bool = False) -> list[schemas.Portrait]:
        """Portraits, the newest first; of one job, the best first."""
        params = {"person": person, "job": job, "favourite": favourite}
        return self._http.list(schemas.Portrait, "/portraits", params)

    def portrait(self, id: str) -> schemas.Portrait:
        """One portrait."""
        return self._http.get(schemas.Portrait, f"/portraits/{id}")

    def portrait_file(self, id: str, side: int | None = None) -> bytes:
        """A portrait as it was delivered, or as a JPEG with a long side of `side` pixels."""
        return self._http.picture(f"/portraits/{id}/file", side)

    def idphoto_presets(self) -> schemas.IdPhotoPresets:
        """The rules that ID photos can be made by, with their sources; backgrounds and papers by name."""
        return self._http.get(schemas.IdPhotoPresets, "/idphotos/presets")

    def sheet(
        self, id: str, paper: str = "10x15", gap: float | None = None, format: Literal["pdf", "jpg"] = "pdf"
    ) -> bytes:
        """As many copies of an ID photo as fit on a paper; `gap`: millimetres between them, None as the API has it."""
        asked = {"paper": paper, "format": format} | ({} if gap is None else {"gap": gap})
        return self._http.request("GET", f"/portraits/{id}/sheet", params=asked).content

    def set_favourite(self, id: str, favourite: bool) -> schemas.Portrait:
        """Mark a portrait as a favourite, or not."""
        return self._http.send(schemas.Portrait, "PATCH", f"/portraits/{id}", json={"favourite": favourite})

    def remake(self, id: str) -> schemas.Job:
        """Queue a portrait again from its recipe: the same pixels."""
        return self._http.post(schemas.Job, f"/portraits/{id}/remake")

    def delete_portrait(self, id: str) -> None:
        """Delete a portrait."""
        self._http.request("DELETE", f"/portraits/{id}")

    def zip(self, ids: Sequence[str] = (), job: str = "", favourite: bool = False) -> Iterator[bytes]:
        """Portraits as one zip, in chunks."""
        return self._http.stream_bytes("/portraits/zip", {"id": list(ids), "job": job, "favourite": favourite})

    # Styles and templates

    def styles(self) -> list[schemas.Style]:
        """The styles that portraits can be made in."""
        return self._http.list(schemas.Style, "/styles")

    def traits(self, style: str) -> list[schemas.Trait]:
        """The traits that the prompt of a style has placeholders for."""
        return self._http.list(schemas.Trait, f"/styles/{style}/traits")

    def style_preview(self, id: str, side: int | None = None) -> bytes:
        """The preview of a style."""
        return self._http.picture(f"/styles/{id}/preview", side)

    def add_template(self, name: str, content: BinaryIO | bytes, statement: str = "") -> schemas.Template:
        """Upload a picture that people can be put into; a job detects its faces.

        `statement` is the version of the text whose statement about the people on it is made.
        """
        file, params = {"file": (name, content)}, {"statement": statement} if statement else {}
        return self._http.send(schemas.Template, "POST", "/templates", tries=1, files=file, params=params, timeout=120)

    def templates(self) -> list[schemas.Template]:
        """The caller's own pictures, the newest first."""
        return self._http.list(schemas.Template, "/templates")

    def template(self, id: str) -> schemas.Template:
        """One picture with its faces, numbered from the left."""
        return self._http.get(schemas.Template, f"/templates/{id}")

    def template_file(self, id: str, side: int | None = None) -> bytes:
        """A picture as it was uploaded, or as a JPEG with a long side of `side` pixels."""
        return self._http.picture(f"/templates/{id}/file", side)

    def delete_template(self, id: str) -> None:
        """Delete a picture; portraits that were made in it stay."""
        self._http.request("DELETE", f"/templates/{id}")

    # Styles of the installation, for operators

    def operator_styles(
        self, status: Sequence[schemas.StyleStatus] = (), kind: str = "", tag: str = ""
    ) -> list[schemas.OperatorStyle]:
        """Every style with its draft and versions; those with any of these states."""
        params = {"status": list(status), "kind": kind, "tag": tag}
        return self._http.list(schemas.OperatorStyle, "/operator/styles", params)

    def operator_style(self, id: str) -> schemas.OperatorStyle:
        """One style with its draft and versions."""
        return self._http.get(schemas.OperatorStyle, f"/operator/styles/{id}")

    def style_schema(self) -> dict[str, Any]:
        """The JSON Schema of a style.toml."""
        return self._http.request("GET", "/operator/style-schema").json()

    def write_draft(self, id: str, content: dict[str, Any], edition: str | None = None) -> schemas.OperatorStyle:
        """Create a draft, or change that edition of it; raises `bad_style` field by field, `draft_changed`."""
        order = schemas.DraftRequest(edition=edition, content=content).model_dump(mode="json")
        return self._http.send(schemas.OperatorStyle, "PUT", f"/operator/styles/{id}/draft", tries=1, json=order)

    def delete_draft(self, id: str, edition: str | None = None) -> None:
        """Delete a draft; published versions stay."""
        self._http.request("DELETE", f"/operator/styles/{id}/draft", params={"edition": edition} if edition else {})

    def set_style_picture(
        self, id: str, name: str, content: BinaryIO | bytes, edition: str | None = None
    ) -> schemas.OperatorStyle:
        """Replace the picture of a template's draft."""
        options = {"files": {"file": (name, content)}, "params": {"edition": edition} if edition else {}}
        path = f"/operator/styles/{id}/picture"
        return self._http.send(schemas.OperatorStyle, "POST", path, tries=1, timeout=120, **options)

    def draft_picture(self, id: str, side: int | None = None) -> bytes:
        """The picture of a draft."""
        return self._http.picture(f"/operator/styles/{id}/draft/picture", side)

    def version_picture(self, id: str, version: int, side: int | None = None) -> bytes:
        """The picture of a published version."""
        return self._http.picture(f"/operator/styles/{id}/versions/{version}/picture", side)

    def check_style(self, id: str) -> schemas.Job:
        """Queue a check of a draft's picture."""
        return self._http.post(schemas.Job, f"/operator/styles/{id}/check")

    def test_style(self, id: str) -> schemas.Job:
        """Queue sample renders of a draft: three people in its style."""
        return self._http.post(schemas.Job, f"/operator/styles/{id}/test")

    def style_sample(self, id: str, number: int, side: int | None = None) -> bytes:
        """One sample render of the last test."""
        return self._http.picture(f"/operator/styles/{id}/test/{number}", side)

    def publish_style(self, id: str, edition: str | None = None) -> schemas.StyleVersion:
        """Publish the draft as the next version; raises `style_faults` field by field, `style_unchecked`, `draft_changed`."""
        order = schemas.PublishRequest(edition=edition).model_dump(mode="json")
        return self._http.send(schemas.StyleVersion, "POST", f"/operator/styles/{id}/publish", tries=1, json=order)

    def retire_style(self, id: str, version: int | None = None) -> schemas.OperatorStyle:
        """Retire one version of a style, or all of them."""
        params = {"version": version} if version else {}
        return self._http.send(schemas.OperatorStyle, "POST", f"/operator/styles/{id}/retire", params=params)

    def import_styles(self, files: Files) -> schemas.StyleImportResult:
        """Import one pack or style.toml, or JSON styles and JPEGs of other tools, as drafts."""
        return self._upload(schemas.StyleImportResult, "/operator/styles/import", files)

    def style_pack(self, ids: Sequence[str]) -> Iterator[bytes]:
        """Styles as one zip with their hashes, in chunks."""
        return self._http.stream_bytes("/operator/style-pack", {"id": list(ids)})

    def style_report(self, id: str) -> schemas.StyleReport:
        """Uses, favourites, failures and likeness of a style, in total and by version."""
        return self._http.get(schemas.StyleReport, f"/operator/styles/{id}/figures")

    # Webhooks

    def add_webhook(self, order: schemas.WebhookRequest) -> schemas.WebhookWithSecret:
        """Add a webhook that is called when jobs end."""
        return self._http.post(schemas.WebhookWithSecret, "/webhooks", order)

    def webhooks(self) -> list[schemas.Webhook]:
        """Webhooks, without their secrets."""
        return self._http.list(schemas.Webhook, "/webhooks")

    def delete_webhook(self, id: str) -> None:
        """Delete a webhook; calls that wait are dropped."""
        self._http.request("DELETE", f"/webhooks/{id}")

    # Me, and the installation

    def me(self, tries: int = TRIES, idle: bool = False) -> schemas.Me:
        """The caller, with quotas and their use; an `idle` question is no use of the key or session."""
        headers = {"Portrait-Idle": "1"} if idle else {}
        return self._http.get(schemas.Me, "/me", tries=tries, headers=headers)

    def abilities(self) -> list[schemas.Ability]:
        """The abilities of the installation: ready, or what is missing."""
        return self._http.list(schemas.Ability, "/abilities")

    def workers(self) -> list[schemas.Worker]:
        """Live workers, for operators."""
        return self._http.list(schemas.Worker, "/operator/workers")

    def queues(self) -> list[schemas.QueueCounts]:
        """Jobs by queue and state, for operators."""
        return self._http.list(schemas.QueueCounts, "/operator/queues")

    def models(self) -> list[schemas.ModelStatus]:
        """Model files on the API's machine, for operators."""
        return self._http.list(schemas.ModelStatus, "/operator/models")

    def statistics(self) -> schemas.Statistics:
        """Likeness and favourites by style, waiting and running times by kind of job, for operators."""
        return self._http.get(schemas.Statistics, "/operator/figures")

    def prune(self, days: float) -> int:
        """Delete jobs that ended `days` ago and left no portraits; returns how many, for operators."""
        return self._http.send(schemas.PruneResult, "POST", "/operator/jobs/prune", params={"days": days}).jobs

    def _upload(self, kind: type[M], path: str, files: Files) -> M:
        """Send files; not retried, because they were read."""
        parts = [("files", (name, content)) for name, content in files]
        return self._http.send(kind, "POST", path, tries=1, files=parts, timeout=300)
