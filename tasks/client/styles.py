"""The part of the client that is about styles, own pictures, and the styles of the installation."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from tasks import schemas
from tasks.client.transport import Files, HttpTransport


class StylesClient:
    """Methods for styles and templates, and for drafts and versions where the key is an operator's."""

    _http: HttpTransport

    def styles(self) -> list[schemas.Style]:
        """The styles that portraits can be made in."""
        return self._http.list(schemas.Style, "/styles")

    def traits(self, style: str) -> list[schemas.Trait]:
        """The traits that the prompt of a style has placeholders for."""
        return self._http.list(schemas.Trait, f"/styles/{style}/traits")

    def style_preview(self, id: str, side: int | None = None, person: str = "") -> bytes:
        """The preview of a style; of a studio style with a person, where their photos can show it."""
        return self._http.picture(f"/styles/{id}/preview", side, {"person": person} if person else {})

    def card_sample(self, id: str, number: int, side: int | None = None) -> bytes:
        """A sample person in a style: `number` from 1 to its `samples`."""
        return self._http.picture(f"/styles/{id}/samples/{number}", side)

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

    def remove_template(self, id: str) -> None:
        """Delete a picture so that `restore_template` brings it back for some seconds."""
        self._http.request("DELETE", f"/templates/{id}", params={"undo": True})

    def restore_template(self, id: str) -> schemas.Template:
        """Bring a picture back; raises `erased` when it is too late."""
        return self._http.send(schemas.Template, "POST", f"/templates/{id}/restore")

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
        """Replace the picture of a template's draft; a studio style gets the picture as its backdrop."""
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

    def test_style(self, id: str, people: Sequence[str] = ()) -> schemas.Job:
        """Queue sample renders of a draft: three people in its style, or people of one's own by their ids."""
        return self._http.post(
            schemas.Job, f"/operator/styles/{id}/test", schemas.StyleTestRequest(people=list(people))
        )

    def style_sample(self, id: str, number: int, side: int | None = None) -> bytes:
        """One sample render of the last test."""
        return self._http.picture(f"/operator/styles/{id}/test/{number}", side)

    def publish_style(self, id: str, edition: str | None = None, card: int | None = None) -> schemas.StyleVersion:
        """Publish the draft as the next version, with the sample `card` as its picture.

        Raises `style_faults` field by field, `style_unchecked`, `draft_changed`.
        """
        order = schemas.PublishRequest(edition=edition, card=card).model_dump(mode="json")
        return self._http.send(schemas.StyleVersion, "POST", f"/operator/styles/{id}/publish", tries=1, json=order)

    def retire_style(self, id: str, version: int | None = None) -> schemas.OperatorStyle:
        """Retire one version of a style, or all of them."""
        params = {"version": version} if version else {}
        return self._http.send(schemas.OperatorStyle, "POST", f"/operator/styles/{id}/retire", params=params)

    def import_styles(self, files: Files) -> schemas.StyleImportResult:
        """Import one pack or style.toml, or JSON styles and JPEGs of other tools, as drafts."""
        return self._http.upload(schemas.StyleImportResult, "/operator/styles/import", files)

    def style_pack(self, ids: Sequence[str]) -> Iterator[bytes]:
        """Styles as one zip with their hashes, in chunks."""
        return self._http.stream_bytes("/operator/style-pack", {"id": list(ids)})

    def style_report(self, id: str) -> schemas.StyleReport:
        """Uses, favourites, failures and likeness of a style, in total and by version."""
        return self._http.get(schemas.StyleReport, f"/operator/styles/{id}/figures")
