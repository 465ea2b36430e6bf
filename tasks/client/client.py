"""The task API from the other side: typed, patient, safe to repeat.

Errors are those of `portrait.errors`, with the API's code and sentence; `details` holds `status`, `errors` (photo by photo)
and `retry_after` where the API said so. An API that does not answer is `OperatorError` (`api_unreachable`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, BinaryIO

import httpx

from portrait.errors import UserError
from tasks import schemas
from tasks.client.transport import Wire

Files = Iterable[tuple[str, BinaryIO | bytes]]
"""Name and content."""


class Client:
    """A caller of the task API; use it as a context."""

    def __init__(
        self, url: str, key: str = "", timeout: float = 30.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._wire = Wire(url, key, timeout, transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._wire.close()

    # Signing in, and keys

    def sign_in(self, code: str) -> schemas.KeyMade:
        """Change a one-time code for a key; not repeated, because a code works once."""
        return self._wire.read(schemas.KeyMade, self._wire.ask("POST", "/sign-in", tries=1, json={"code": code}))

    def add_key(self, order: schemas.KeyOrder) -> schemas.KeyMade:
        """Make a key; not repeated, because each answer holds another one."""
        answer = self._wire.ask("POST", "/keys", tries=1, json=order.model_dump(mode="json"))
        return self._wire.read(schemas.KeyMade, answer)

    def keys(self) -> list[schemas.Key]:
        """Keys, without their secrets."""
        return self._wire.list(schemas.Key, "/keys")

    def revoke_key(self, id: str) -> None:
        """Make a key open nothing any more."""
        self._wire.ask("DELETE", f"/keys/{id}")

    # People

    def add_person(self, name: str, text_version: str, given_by: str) -> schemas.Person:
        """Somebody to draw, who agreed to a text."""
        given = schemas.ConsentGiven(agreed=True, text_version=text_version, given_by=given_by)
        return self._wire.post(schemas.Person, "/people", schemas.PersonOrder(name=name, consent=given))

    def people(self) -> list[schemas.Person]:
        """Everybody, the newest first."""
        return self._wire.list(schemas.Person, "/people")

    def person(self, id: str) -> schemas.Person:
        """One person."""
        return self._wire.get(schemas.Person, f"/people/{id}")

    def rename_person(self, id: str, name: str) -> schemas.Person:
        """Call a person by another name."""
        return self._wire.read(schemas.Person, self._wire.ask("PATCH", f"/people/{id}", json={"name": name}))

    def erase_person(self, id: str) -> schemas.Erased:
        """Erase a person and everything made from their photos."""
        return self._wire.read(schemas.Erased, self._wire.ask("DELETE", f"/people/{id}", tries=1))

    def consents(self, person: str) -> list[schemas.Consent]:
        """What was agreed to."""
        return self._wire.list(schemas.Consent, f"/people/{person}/consents")

    def consent_again(self, person: str, text_version: str, given_by: str) -> schemas.Consent:
        """Agree once more."""
        given = schemas.ConsentGiven(agreed=True, text_version=text_version, given_by=given_by)
        return self._wire.post(schemas.Consent, f"/people/{person}/consents", given)

    def withdraw_consent(self, person: str) -> None:
        """Take consent back."""
        self._wire.ask("DELETE", f"/people/{person}/consents")

    # Photos

    def add_selfies(self, person: str, files: Files) -> schemas.SelfiesAdded:
        """Add photos, streamed; what cannot be read is told by name."""
        parts = [("files", (name, content)) for name, content in files]
        answer = self._wire.ask("POST", f"/people/{person}/selfies", tries=1, files=parts, timeout=300)
        return self._wire.read(schemas.SelfiesAdded, answer)

    def selfies(self, person: str) -> list[schemas.Selfie]:
        """A person's photos with their verdicts."""
        return self._wire.list(schemas.Selfie, f"/people/{person}/selfies")

    def wish(self, selfie: str, wish: schemas.Wish) -> schemas.Selfie:
        """Include or exclude a photo, or leave it to the judge."""
        return self._wire.read(schemas.Selfie, self._wire.ask("PATCH", f"/selfies/{selfie}", json={"wish": wish}))

    def delete_selfie(self, id: str) -> None:
        """Forget a photo."""
        self._wire.ask("DELETE", f"/selfies/{id}")

    def selfie_file(self, id: str, side: int | None = None) -> bytes:
        """A photo, whole or small."""
        return self._wire.content(f"/selfies/{id}/file", side)

    def selfie_crop(self, id: str, side: int | None = None) -> bytes:
        """What is learned from a photo; raises `not_found` for one that was not used."""
        return self._wire.content(f"/selfies/{id}/crop", side)

    # Jobs

    def train(self, order: schemas.TrainingOrder) -> schemas.Job:
        """Ask for a person's photos to be judged and learned from."""
        return self._wire.post(schemas.Job, "/trainings", order)

    def generate(self, order: schemas.GenerationOrder) -> schemas.Job:
        """Ask for portraits."""
        return self._wire.post(schemas.Job, "/generations", order)

    def edit(self, portrait: str, order: schemas.EditOrder) -> schemas.Job:
        """Go on from a portrait."""
        return self._wire.post(schemas.Job, f"/portraits/{portrait}/edits", order)

    def jobs(self, states: Sequence[str] = (), kind: str = "", everybodys: bool = False) -> list[schemas.Job]:
        """Jobs, the newest first; everybody's for operators. The newest 200 of them."""
        params: dict[str, Any] = {"state": list(states), "limit": 200} | ({"kind": kind} if kind else {})
        answer = self._wire.ask("GET", "/operator/jobs" if everybodys else "/jobs", params=params)
        return self._wire.read(schemas.Page[schemas.Job], answer).items

    def job(self, id: str) -> schemas.Job:
        """One job."""
        return self._wire.get(schemas.Job, f"/jobs/{id}")

    def cancel(self, id: str, anybodys: bool = False) -> schemas.Job:
        """Stop a job; raises `bad_transition` when it has ended."""
        return self._wire.post(schemas.Job, f"{'/operator' if anybodys else ''}/jobs/{id}/cancel")

    def retry(self, id: str, anybodys: bool = False) -> schemas.Job:
        """Queue a job again that did not succeed; not repeated, because a second retry may find it running."""
        path = f"{'/operator' if anybodys else ''}/jobs/{id}/retry"
        return self._wire.read(schemas.Job, self._wire.ask("POST", path, tries=1))

    def preview(self, job: str) -> bytes | None:
        """What a running job shows of itself; None while there is nothing to see."""
        try:
            return self._wire.content(f"/jobs/{job}/preview", None)
        except UserError as error:
            if error.code == "not_found":
                return None
            raise

    def follow(self, job: str) -> Iterator[schemas.JobEvent]:
        """What happens to a job until it ends; a stream that breaks off goes on where it stopped."""
        return self._wire.events(f"/jobs/{job}/events")

    def wait(self, job: str, heard: Callable[[schemas.JobEvent], None] | None = None) -> schemas.Job:
        """Follow a job to its end, and return it."""
        for event in self.follow(job):
            if heard is not None:
                heard(event)
        return self.job(job)

    # Portraits

    def portraits(self, person: str = "", job: str = "", favourite: bool = False) -> list[schemas.Portrait]:
        """Portraits, the newest first; of one job, the best first."""
        params = {"person": person, "job": job, "favourite": favourite}
        return self._wire.list(schemas.Portrait, "/portraits", params)

    def portrait(self, id: str) -> schemas.Portrait:
        """One portrait."""
        return self._wire.get(schemas.Portrait, f"/portraits/{id}")

    def portrait_file(self, id: str, side: int | None = None) -> bytes:
        """A portrait as it was delivered, or small."""
        return self._wire.content(f"/portraits/{id}/file", side)

    def favour(self, id: str, favourite: bool) -> schemas.Portrait:
        """Make it a favourite, or not."""
        return self._wire.read(
            schemas.Portrait, self._wire.ask("PATCH", f"/portraits/{id}", json={"favourite": favourite})
        )

    def remake(self, id: str) -> schemas.Job:
        """Ask for a portrait once more, as its recipe says."""
        return self._wire.post(schemas.Job, f"/portraits/{id}/remake")

    def delete_portrait(self, id: str) -> None:
        """Delete one."""
        self._wire.ask("DELETE", f"/portraits/{id}")

    def zip(self, ids: Sequence[str] = (), job: str = "", favourite: bool = False) -> Iterator[bytes]:
        """Many portraits as one zip, in pieces."""
        return self._wire.pieces("/portraits/zip", {"id": list(ids), "job": job, "favourite": favourite})

    # Styles and templates

    def styles(self) -> list[schemas.Style]:
        """What portraits can look like here."""
        return self._wire.list(schemas.Style, "/styles")

    def traits(self, style: str) -> list[schemas.Trait]:
        """What a style asks for of the person in the picture."""
        return self._wire.list(schemas.Trait, f"/styles/{style}/traits")

    def style_preview(self, id: str, side: int | None = None) -> bytes:
        """What a style looks like."""
        return self._wire.content(f"/styles/{id}/preview", side)

    def add_template(self, name: str, content: BinaryIO | bytes) -> schemas.Template:
        """Bring a picture that people can be put into."""
        answer = self._wire.ask("POST", "/templates", tries=1, files={"file": (name, content)}, timeout=120)
        return self._wire.read(schemas.Template, answer)

    def templates(self) -> list[schemas.Template]:
        """Own pictures, the newest first."""
        return self._wire.list(schemas.Template, "/templates")

    def template(self, id: str) -> schemas.Template:
        """One picture with its faces."""
        return self._wire.get(schemas.Template, f"/templates/{id}")

    def template_file(self, id: str, side: int | None = None) -> bytes:
        """A picture, whole or small."""
        return self._wire.content(f"/templates/{id}/file", side)

    def delete_template(self, id: str) -> None:
        """Forget a picture."""
        self._wire.ask("DELETE", f"/templates/{id}")

    # Own styles, for operators

    def own_styles(
        self, status: Sequence[schemas.StyleStatus] = (), kind: str = "", tag: str = ""
    ) -> list[schemas.OwnStyle]:
        """Every style with its draft and versions; those with any of these states."""
        params = {"status": list(status), "kind": kind, "tag": tag}
        return self._wire.list(schemas.OwnStyle, "/operator/styles", params)

    def own_style(self, id: str) -> schemas.OwnStyle:
        """One of them."""
        return self._wire.get(schemas.OwnStyle, f"/operator/styles/{id}")

    def style_schema(self) -> dict[str, Any]:
        """The JSON Schema of what a style may say."""
        return self._wire.ask("GET", "/operator/style-schema").json()

    def write_style(self, id: str, content: dict[str, Any], edition: str | None = None) -> schemas.OwnStyle:
        """Make a draft, or change the one of that edition; raises `bad_style` field by field, `draft_changed`."""
        order = schemas.DraftOrder(edition=edition, content=content).model_dump(mode="json")
        answer = self._wire.ask("PUT", f"/operator/styles/{id}/draft", tries=1, json=order)
        return self._wire.read(schemas.OwnStyle, answer)

    def delete_draft(self, id: str, edition: str | None = None) -> None:
        """Throw a draft away."""
        self._wire.ask("DELETE", f"/operator/styles/{id}/draft", params={"edition": edition} if edition else {})

    def hang_picture(
        self, id: str, name: str, content: BinaryIO | bytes, edition: str | None = None
    ) -> schemas.OwnStyle:
        """Give a template's draft another picture."""
        path, params = f"/operator/styles/{id}/picture", {"edition": edition} if edition else {}
        answer = self._wire.ask("POST", path, tries=1, files={"file": (name, content)}, params=params, timeout=120)
        return self._wire.read(schemas.OwnStyle, answer)

    def draft_picture(self, id: str, side: int | None = None) -> bytes:
        """The picture of a draft."""
        return self._wire.content(f"/operator/styles/{id}/draft/picture", side)

    def version_picture(self, id: str, version: int, side: int | None = None) -> bytes:
        """The picture of a published version."""
        return self._wire.content(f"/operator/styles/{id}/versions/{version}/picture", side)

    def check_style(self, id: str) -> schemas.Job:
        """Have a worker look at a draft's picture."""
        return self._wire.post(schemas.Job, f"/operator/styles/{id}/check")

    def test_style(self, id: str) -> schemas.Job:
        """Have a worker draw three people in a draft's style."""
        return self._wire.post(schemas.Job, f"/operator/styles/{id}/test")

    def style_sample(self, id: str, number: int, side: int | None = None) -> bytes:
        """One drawing of the last test."""
        return self._wire.content(f"/operator/styles/{id}/test/{number}", side)

    def publish_style(self, id: str, edition: str | None = None) -> schemas.StyleVersion:
        """Make the draft the next version; raises `style_faults` field by field, `style_unchecked`, `draft_changed`."""
        order = schemas.PublishOrder(edition=edition).model_dump(mode="json")
        answer = self._wire.ask("POST", f"/operator/styles/{id}/publish", tries=1, json=order)
        return self._wire.read(schemas.StyleVersion, answer)

    def retire_style(self, id: str, version: int | None = None) -> schemas.OwnStyle:
        """Offer one version no more, or none."""
        params = {"version": version} if version else {}
        return self._wire.read(schemas.OwnStyle, self._wire.ask("POST", f"/operator/styles/{id}/retire", params=params))

    def import_styles(self, files: Files) -> schemas.StylesBrought:
        """Take in one pack or style.toml, or JSON styles and JPEGs of other tools, as drafts."""
        parts = [("files", (name, content)) for name, content in files]
        answer = self._wire.ask("POST", "/operator/styles/import", tries=1, files=parts, timeout=300)
        return self._wire.read(schemas.StylesBrought, answer)

    def style_pack(self, ids: Sequence[str]) -> Iterator[bytes]:
        """Styles as one zip, in pieces."""
        return self._wire.pieces("/operator/style-pack", {"id": list(ids)})

    def style_report(self, id: str) -> schemas.StyleReport:
        """How a style does, together and by version."""
        return self._wire.get(schemas.StyleReport, f"/operator/styles/{id}/figures")

    # Webhooks

    def add_webhook(self, order: schemas.WebhookOrder) -> schemas.WebhookMade:
        """Be called when jobs end."""
        return self._wire.post(schemas.WebhookMade, "/webhooks", order)

    def webhooks(self) -> list[schemas.Webhook]:
        """Webhooks, without their secrets."""
        return self._wire.list(schemas.Webhook, "/webhooks")

    def delete_webhook(self, id: str) -> None:
        """Be called no more."""
        self._wire.ask("DELETE", f"/webhooks/{id}")

    # Me, and the installation

    def me(self) -> schemas.Me:
        """Who you are, and what you may still ask for."""
        return self._wire.get(schemas.Me, "/me")

    def export(self) -> Iterator[bytes]:
        """Everything that is kept of you as a zip, in pieces."""
        return self._wire.pieces("/me/export", {})

    def erase_me(self) -> schemas.Erased:
        """Erase every person, photo, portrait and picture of yours."""
        return self._wire.read(schemas.Erased, self._wire.ask("DELETE", "/me", tries=1))

    def abilities(self) -> list[schemas.Ability]:
        """What this installation can do at present, and what the rest takes."""
        return self._wire.list(schemas.Ability, "/abilities")

    def workers(self) -> list[schemas.Worker]:
        """Live workers, for operators."""
        return self._wire.list(schemas.Worker, "/operator/workers")

    def queues(self) -> list[schemas.Waiting]:
        """Jobs by queue and state, for operators."""
        return self._wire.list(schemas.Waiting, "/operator/queues")

    def models(self) -> list[schemas.ModelStatus]:
        """Models on the API's machine, for operators."""
        return self._wire.list(schemas.ModelStatus, "/operator/models")

    def figures(self) -> schemas.Figures:
        """How styles and queues do, for operators."""
        return self._wire.get(schemas.Figures, "/operator/figures")

    def prune(self, days: float) -> int:
        """Forget jobs that ended so long ago and left no portraits; how many, for operators."""
        answer = self._wire.ask("POST", "/operator/jobs/prune", params={"days": days})
        return self._wire.read(schemas.Pruned, answer).jobs
