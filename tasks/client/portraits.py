"""The client's methods of portraits: lists and places in them, files and downloads, names, print sheets, ID photos."""

from collections.abc import Sequence
from typing import Any, BinaryIO, Literal, TypeAlias, TypedDict, Unpack

from tasks import schemas
from tasks.client.calls import File, call, chunks, download
from tasks.client.steps import Request, Steps, act, get, listed, picture, post, respond, send

PortraitSort: TypeAlias = Literal["newest", "likeness"]
PAGE_SIZE = 48
"""Portraits of a page: whole rows of two, three, four and six."""


class PortraitFilters(TypedDict, total=False):
    """Conditions on portraits; what is empty is no condition."""

    person: str
    job: str
    order: str
    favourite: bool


class Rendering(TypedDict, total=False):
    """How portraits are downloaded: as they were delivered where nothing is said."""

    format: str
    """`jpg`, `png` or `webp`."""
    side: int
    """Long side in pixels, 64 to 2048; no picture is enlarged."""
    language: str
    """Of the styles in the names of files."""


class PortraitsClient:
    """Methods of `tasks.client.client.Client`."""

    @call
    def portraits(
        self, person: str = "", job: str = "", order: str = "", favourite: bool = False, sort: PortraitSort = "newest"
    ) -> Steps[list[schemas.Portrait]]:
        """Portraits with their recipes, the newest or the most alike first; of one job, the best first."""
        filters = {"person": person, "job": job, "order": order, "favourite": favourite, "sort": sort}
        return listed(schemas.Portrait, "/portraits", filters)

    @call
    def portrait_page(
        self,
        sort: PortraitSort = "newest",
        cursor: str = "",
        limit: int = PAGE_SIZE,
        **filters: Unpack[PortraitFilters],
    ) -> Steps[schemas.PortraitPage]:
        """One page of portraits without their recipes; `cursor` is the `next` of the page before, `limit` 200 at most."""
        query = _query({**filters, "sort": sort, "cursor": cursor, "limit": limit})
        return get(schemas.PortraitPage, "/portraits", params={**query, "recipe": False})

    @call
    def neighbours(
        self, id: str, sort: PortraitSort = "newest", **filters: Unpack[PortraitFilters]
    ) -> Steps[schemas.Neighbours]:
        """The portraits before and after one in a list, and its place there."""
        return get(schemas.Neighbours, f"/portraits/{id}/neighbours", params=_query({**filters, "sort": sort}))

    @call
    def portrait(self, id: str) -> Steps[schemas.Portrait]:
        """One portrait."""
        return get(schemas.Portrait, f"/portraits/{id}")

    @call
    def portrait_file(self, id: str, side: int | None = None) -> Steps[bytes]:
        """A portrait as it was delivered, or as a JPEG with a long side of `side` pixels."""
        return picture(f"/portraits/{id}/file", side)

    @download
    def download_portrait(self, id: str, **rendering: Unpack[Rendering]) -> File:
        """A portrait as a file to keep, with its marks and recipe, in another format or size on demand."""
        return (f"/portraits/{id}/file", {**_query(rendering), "download": True})

    @call
    def idphoto_presets(self) -> Steps[schemas.IdPhotoPresets]:
        """The rules that ID photos can be made by, with their sources; backgrounds and papers by name."""
        return get(schemas.IdPhotoPresets, "/idphotos/presets")

    @call
    def sheet(
        self,
        id: str,
        paper: str = "10x15",
        gap: float | None = None,
        format: Literal["pdf", "jpg"] = "pdf",
        width: float | None = None,
    ) -> Steps[bytes]:
        """As many prints of a portrait as fit on a paper; see `download_sheet`."""
        path, params = _sheet(id, paper, gap, format, width)
        return (yield from respond(Request("GET", path, {"params": params, "timeout": 300}))).content

    @download
    def download_sheet(
        self,
        id: str,
        paper: str = "10x15",
        gap: float | None = None,
        format: Literal["pdf", "jpg"] = "pdf",
        width: float | None = None,
    ) -> File:
        """As many prints of a portrait as fit on a paper, with crop marks.

        `gap` and `width` in millimetres: between the prints, and of one; None as the API has it. An ID photo has the width of
        its rule.
        """
        return _sheet(id, paper, gap, format, width)

    @call
    def set_favourite(self, id: str, favourite: bool) -> Steps[schemas.Portrait]:
        """Mark a portrait as a favourite, or not."""
        return send(schemas.Portrait, "PATCH", f"/portraits/{id}", json={"favourite": favourite})

    @call
    def name_portrait(self, id: str, name: str) -> Steps[schemas.Portrait]:
        """Give a portrait a name of at most 80 characters, or none."""
        return send(schemas.Portrait, "PATCH", f"/portraits/{id}", json={"name": name})

    @call
    def before(self, id: str) -> Steps[schemas.Before]:
        """What a portrait was made from, and where the eyes are in both; `not_found` where nothing of it is left."""
        return get(schemas.Before, f"/portraits/{id}/before")

    @call
    def before_file(self, id: str, side: int | None = None) -> Steps[bytes]:
        """The picture that a portrait was made from, or a JPEG of it with a long side of `side` pixels."""
        return picture(f"/portraits/{id}/before/file", side)

    @call
    def verify(self, name: str, content: BinaryIO | bytes) -> Steps[schemas.Provenance]:
        """Where a picture comes from, whoever made it; it is looked at and not kept. Needs no key."""
        return send(schemas.Provenance, "POST", "/verify", files={"file": (name, content)}, timeout=120)

    @call
    def remake(self, id: str) -> Steps[schemas.Job]:
        """Queue a portrait again from its recipe: the same pixels."""
        return post(schemas.Job, f"/portraits/{id}/remake")

    @call
    def delete_portrait(self, id: str) -> Steps[None]:
        """Delete a portrait."""
        return act("DELETE", f"/portraits/{id}")

    @call
    def remove_portrait(self, id: str) -> Steps[None]:
        """Delete a portrait so that `restore_portrait` brings it back for some seconds."""
        return act("DELETE", f"/portraits/{id}", params={"undo": True})

    @call
    def restore_portrait(self, id: str) -> Steps[schemas.Portrait]:
        """Bring a portrait back; raises `erased` when it is too late."""
        return send(schemas.Portrait, "POST", f"/portraits/{id}/restore")

    @chunks
    def zip(self, ids: Sequence[str] = (), job: str = "", favourite: bool = False) -> File:
        """Portraits as one zip, in chunks."""
        return ("/portraits/zip", {"id": list(ids), "job": job, "favourite": favourite})

    @download
    def download_zip(
        self, ids: Sequence[str] = (), filters: PortraitFilters | None = None, **rendering: Unpack[Rendering]
    ) -> File:
        """Portraits of these ids, or else of the filters, as one zip, in another format or size on demand."""
        return ("/portraits/zip", _query({"id": list(ids), **(filters or {}), **rendering}))


def _sheet(id: str, paper: str, gap: float | None, format: str, width: float | None) -> File:
    given = {name: value for name, value in (("gap", gap), ("width", width)) if value is not None}
    return f"/portraits/{id}/sheet", {"paper": paper, "format": format, **given}


def _query(values: Any) -> dict[str, Any]:
    """The parameters that have a value."""
    return {name: value for name, value in values.items() if value}
