"""The client's methods of portraits: lists and places in them, files and downloads, names, print sheets, ID photos."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Literal, TypeAlias, TypedDict, Unpack

from tasks import schemas
from tasks.client.transport import Download, HttpTransport

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

    _http: HttpTransport

    def portraits(
        self, person: str = "", job: str = "", order: str = "", favourite: bool = False, sort: PortraitSort = "newest"
    ) -> list[schemas.Portrait]:
        """Portraits with their recipes, the newest or the most alike first; of one job, the best first."""
        filters = {"person": person, "job": job, "order": order, "favourite": favourite, "sort": sort}
        return self._http.list(schemas.Portrait, "/portraits", filters)

    def portrait_page(
        self,
        sort: PortraitSort = "newest",
        cursor: str = "",
        limit: int = PAGE_SIZE,
        **filters: Unpack[PortraitFilters],
    ) -> schemas.PortraitPage:
        """One page of portraits without their recipes; `cursor` is the `next` of the page before, `limit` 200 at most."""
        query = _query({**filters, "sort": sort, "cursor": cursor, "limit": limit})
        return self._http.get(schemas.PortraitPage, "/portraits", params={**query, "recipe": False})

    def neighbours(
        self, id: str, sort: PortraitSort = "newest", **filters: Unpack[PortraitFilters]
    ) -> schemas.Neighbours:
        """The portraits before and after one in a list, and its place there."""
        return self._http.get(
            schemas.Neighbours, f"/portraits/{id}/neighbours", params=_query({**filters, "sort": sort})
        )

    def portrait(self, id: str) -> schemas.Portrait:
        """One portrait."""
        return self._http.get(schemas.Portrait, f"/portraits/{id}")

    def portrait_file(self, id: str, side: int | None = None) -> bytes:
        """A portrait as it was delivered, or as a JPEG with a long side of `side` pixels."""
        return self._http.picture(f"/portraits/{id}/file", side)

    def download_portrait(self, id: str, **rendering: Unpack[Rendering]) -> Download:
        """A portrait as a file to keep, with its marks and recipe, in another format or size on demand."""
        return self._http.download(f"/portraits/{id}/file", {**_query(rendering), "download": True})

    def idphoto_presets(self) -> schemas.IdPhotoPresets:
        """The rules that ID photos can be made by, with their sources; backgrounds and papers by name."""
        return self._http.get(schemas.IdPhotoPresets, "/idphotos/presets")

    def sheet(
        self,
        id: str,
        paper: str = "10x15",
        gap: float | None = None,
        format: Literal["pdf", "jpg"] = "pdf",
        width: float | None = None,
    ) -> bytes:
        """As many prints of a portrait as fit on a paper; see `download_sheet`."""
        return b"".join(self.download_sheet(id, paper, gap, format, width).chunks)

    def download_sheet(
        self,
        id: str,
        paper: str = "10x15",
        gap: float | None = None,
        format: Literal["pdf", "jpg"] = "pdf",
        width: float | None = None,
    ) -> Download:
        """As many prints of a portrait as fit on a paper, with crop marks.

        `gap` and `width` in millimetres: between the prints, and of one; None as the API has it. An ID photo has the width of
        its rule.
        """
        asked = {"paper": paper, "format": format}
        given = {name: value for name, value in (("gap", gap), ("width", width)) if value is not None}
        return self._http.download(f"/portraits/{id}/sheet", {**asked, **given})

    def set_favourite(self, id: str, favourite: bool) -> schemas.Portrait:
        """Mark a portrait as a favourite, or not."""
        return self._http.send(schemas.Portrait, "PATCH", f"/portraits/{id}", json={"favourite": favourite})

    def name_portrait(self, id: str, name: str) -> schemas.Portrait:
        """Give a portrait a name of at most 80 characters, or none."""
        return self._http.send(schemas.Portrait, "PATCH", f"/portraits/{id}", json={"name": name})

    def before(self, id: str) -> schemas.Before:
        """What a portrait was made from, and where the eyes are in both; `not_found` where nothing of it is left."""
        return self._http.get(schemas.Before, f"/portraits/{id}/before")

    def before_file(self, id: str, side: int | None = None) -> bytes:
        """The picture that a portrait was made from, or a JPEG of it with a long side of `side` pixels."""
        return self._http.picture(f"/portraits/{id}/before/file", side)

    def verify(self, name: str, content: BinaryIO | bytes) -> schemas.Provenance:
        """Where a picture comes from, whoever made it; it is looked at and not kept. Needs no key."""
        return self._http.send(
            schemas.Provenance, "POST", "/verify", tries=1, files={"file": (name, content)}, timeout=120
        )

    def remake(self, id: str) -> schemas.Job:
        """Queue a portrait again from its recipe: the same pixels."""
        return self._http.post(schemas.Job, f"/portraits/{id}/remake")

    def delete_portrait(self, id: str) -> None:
        """Delete a portrait."""
        self._http.request("DELETE", f"/portraits/{id}")

    def remove_portrait(self, id: str) -> None:
        """Delete a portrait so that `restore_portrait` brings it back for some seconds."""
        self._http.request("DELETE", f"/portraits/{id}", params={"undo": True})

    def restore_portrait(self, id: str) -> schemas.Portrait:
        """Bring a portrait back; raises `erased` when it is too late."""
        return self._http.send(schemas.Portrait, "POST", f"/portraits/{id}/restore")

    def zip(self, ids: Sequence[str] = (), job: str = "", favourite: bool = False) -> Iterator[bytes]:
        """Portraits as one zip, in chunks."""
        return self._http.stream_bytes("/portraits/zip", {"id": list(ids), "job": job, "favourite": favourite})

    def download_zip(
        self, ids: Sequence[str] = (), filters: PortraitFilters | None = None, **rendering: Unpack[Rendering]
    ) -> Download:
        """Portraits of these ids, or else of the filters, as one zip, in another format or size on demand."""
        return self._http.download("/portraits/zip", _query({"id": list(ids), **(filters or {}), **rendering}))


def _query(values: Any) -> dict[str, Any]:
    """The parameters that have a value."""
    return {name: value for name, value in values.items() if value}
