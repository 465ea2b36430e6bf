"""The part of the client that is about styles, own pictures, and the styles of the installation."""

from collections.abc import Sequence
from typing import Any, BinaryIO

from tasks import schemas
from tasks.client.calls import File, call, chunks
from tasks.client.steps import Files, Request, Steps, act, get, listed, picture, post, respond, send, upload


class StylesClient:
    """Methods for styles and templates, and for drafts and versions where the key is an operator's."""

    @call
    def styles(self) -> Steps[list[schemas.Style]]:
        """The styles that portraits can be made in."""
        return listed(schemas.Style, "/styles")

    @call
    def style(self, id: str) -> Steps[schemas.Style]:
        """One style."""
        return get(schemas.Style, f"/styles/{id}")

    @call
    def traits(self, style: str) -> Steps[list[schemas.Trait]]:
        """The traits that the prompt of a style has placeholders for."""
        return listed(schemas.Trait, f"/styles/{style}/traits")

    @call
    def style_preview(self, id: str, side: int | None = None, person: str = "") -> Steps[bytes]:
        """The preview of a style; of a studio style with a person, where their photos can show it."""
        return picture(f"/styles/{id}/preview", side, {"person": person} if person else {})

    @call
    def card_sample(self, id: str, number: int, side: int | None = None) -> Steps[bytes]:
        """A sample person in a style: `number` from 1 to its `samples`."""
        return picture(f"/styles/{id}/samples/{number}", side)

    @call
    def add_template(self, name: str, content: BinaryIO | bytes, statement: str = "") -> Steps[schemas.Template]:
        """Upload a picture that people can be put into; a job detects its faces.

        `statement` is the version of the text whose statement about the people on it is made.
        """
        file, params = {"file": (name, content)}, {"statement": statement} if statement else {}
        return send(schemas.Template, "POST", "/templates", files=file, params=params, timeout=120)

    @call
    def templates(self) -> Steps[list[schemas.Template]]:
        """The caller's own pictures, the newest first."""
        return listed(schemas.Template, "/templates")

    @call
    def template(self, id: str) -> Steps[schemas.Template]:
        """One picture with its faces, numbered from the left."""
        return get(schemas.Template, f"/templates/{id}")

    @call
    def template_file(self, id: str, side: int | None = None) -> Steps[bytes]:
        """A picture as it was uploaded, or as a JPEG with a long side of `side` pixels."""
        return picture(f"/templates/{id}/file", side)

    @call
    def state_template(self, id: str, text_version: str) -> Steps[schemas.Template]:
        """State that the people on a picture agreed, of one that was uploaded without it."""
        return send(schemas.Template, "PUT", f"/templates/{id}/statement", json={"text_version": text_version})

    @call
    def delete_template(self, id: str) -> Steps[None]:
        """Delete a picture; portraits that were made in it stay."""
        return act("DELETE", f"/templates/{id}")

    @call
    def remove_template(self, id: str) -> Steps[None]:
        """Delete a picture so that `restore_template` brings it back for some seconds."""
        return act("DELETE", f"/templates/{id}", params={"undo": True})

    @call
    def restore_template(self, id: str) -> Steps[schemas.Template]:
        """Bring a picture back; raises `erased` when it is too late."""
        return send(schemas.Template, "POST", f"/templates/{id}/restore")

    # Styles of the installation, for operators

    @call
    def operator_styles(
        self, status: Sequence[schemas.StyleStatus] = (), kind: str = "", tag: str = ""
    ) -> Steps[list[schemas.OperatorStyle]]:
        """Every style with its draft and versions; those with any of these states."""
        params = {"status": list(status), "kind": kind, "tag": tag}
        return listed(schemas.OperatorStyle, "/operator/styles", params)

    @call
    def operator_style(self, id: str) -> Steps[schemas.OperatorStyle]:
        """One style with its draft and versions."""
        return get(schemas.OperatorStyle, f"/operator/styles/{id}")

    @call
    def style_schema(self) -> Steps[dict[str, Any]]:
        """The JSON Schema of a style.toml."""
        return (yield from respond(Request("GET", "/operator/style-schema"))).json()

    @call
    def write_draft(self, id: str, content: dict[str, Any], edition: str | None = None) -> Steps[schemas.OperatorStyle]:
        """Create a draft, or change that edition of it; raises `bad_style` field by field, `draft_changed`."""
        order = schemas.DraftRequest(edition=edition, content=content).model_dump(mode="json")
        return send(schemas.OperatorStyle, "PUT", f"/operator/styles/{id}/draft", tries=1, json=order)

    @call
    def delete_draft(self, id: str, edition: str | None = None) -> Steps[None]:
        """Delete a draft; published versions stay."""
        return act("DELETE", f"/operator/styles/{id}/draft", params={"edition": edition} if edition else {})

    @call
    def set_style_picture(
        self, id: str, name: str, content: BinaryIO | bytes, edition: str | None = None
    ) -> Steps[schemas.OperatorStyle]:
        """Replace the picture of a template's draft; a studio style gets the picture as its backdrop."""
        options = {"files": {"file": (name, content)}, "params": {"edition": edition} if edition else {}}
        path = f"/operator/styles/{id}/picture"
        return send(schemas.OperatorStyle, "POST", path, timeout=120, **options)

    @call
    def draft_picture(self, id: str, side: int | None = None) -> Steps[bytes]:
        """The picture of a draft."""
        return picture(f"/operator/styles/{id}/draft/picture", side)

    @call
    def version_picture(self, id: str, version: int, side: int | None = None) -> Steps[bytes]:
        """The picture of a published version."""
        return picture(f"/operator/styles/{id}/versions/{version}/picture", side)

    @call
    def check_style(self, id: str) -> Steps[schemas.Job]:
        """Queue a check of a draft's picture."""
        return post(schemas.Job, f"/operator/styles/{id}/check")

    @call
    def test_style(self, id: str, people: Sequence[str] = ()) -> Steps[schemas.Job]:
        """Queue sample renders of a draft: three people in its style, or people of one's own by their ids."""
        return post(schemas.Job, f"/operator/styles/{id}/test", schemas.StyleTestRequest(people=list(people)))

    @call
    def style_sample(self, id: str, number: int, side: int | None = None) -> Steps[bytes]:
        """One sample render of the last test."""
        return picture(f"/operator/styles/{id}/test/{number}", side)

    @call
    def publish_style(
        self, id: str, edition: str | None = None, card: int | None = None
    ) -> Steps[schemas.StyleVersion]:
        """Publish the draft as the next version, with the sample `card` as its picture.

        Raises `style_faults` field by field, `style_unchecked`, `draft_changed`.
        """
        order = schemas.PublishRequest(edition=edition, card=card).model_dump(mode="json")
        return send(schemas.StyleVersion, "POST", f"/operator/styles/{id}/publish", json=order)

    @call
    def retire_style(self, id: str, version: int | None = None) -> Steps[schemas.OperatorStyle]:
        """Retire one version of a style, or all of them."""
        params = {"version": version} if version else {}
        return send(schemas.OperatorStyle, "POST", f"/operator/styles/{id}/retire", params=params)

    @call
    def import_styles(self, files: Files) -> Steps[schemas.StyleImportResult]:
        """Import one pack or style.toml, or JSON styles and JPEGs of other tools, as drafts."""
        return upload(schemas.StyleImportResult, "/operator/styles/import", files)

    @chunks
    def style_pack(self, ids: Sequence[str]) -> File:
        """Styles as one zip with their hashes, in chunks."""
        return ("/operator/style-pack", {"id": list(ids)})

    @call
    def style_report(self, id: str) -> Steps[schemas.StyleReport]:
        """Uses, favourites, failures and likeness of a style, in total and by version."""
        return get(schemas.StyleReport, f"/operator/styles/{id}/figures")
