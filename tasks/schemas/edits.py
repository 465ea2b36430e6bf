"""Schemas of an edit (variations, an instruction, repainted areas, another shape) and of what a portrait was before."""

from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from tasks.schemas.shared import Id, RequestBody, ResponseBody

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Corner: TypeAlias = Annotated[list[Share], Field(min_length=2, max_length=2)]
Words: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]
MAX_ASPECT = 2
Eyes: TypeAlias = Annotated[list[float], Field(min_length=4, max_length=4)]
"""x and y of the eye on the left of a picture and of that on the right, as shares of its width and height."""


class FaceBefore(ResponseBody):
    """One face of a portrait, and the photo that it was drawn from."""

    face: int = Field(description="Its number.")
    person: str = Field(description="Id of who it is.")
    selfie: str = Field(description="Id of the photo; empty where it is not known or was deleted.")
    eyes: Eyes | None = Field(None, description="In the photo; null where they are not known.")
    portrait_eyes: Eyes | None = Field(None, description="In the portrait; null where they are not known.")


class Before(ResponseBody):
    """The picture that a portrait was made from, and where to lay it so that the eyes lie on each other."""

    kind: Literal["selfie", "template", "style", "portrait"] = Field(
        description="A photo; your picture, or the style's, that people were put into; the portrait that was edited."
    )
    id: str = Field(description="Of that picture: see `/portraits/{id}/before/file`.")
    eyes: Eyes | None = Field(None, description="In that picture, of the first face; null where they are not known.")
    portrait_eyes: Eyes | None = Field(None, description="In the portrait; null where they are not known.")
    faces: list[FaceBefore] = Field(description="Every face with the photo that it was drawn from.")


class EditRequest(RequestBody):
    """An edit of a portrait that was drawn from a prompt."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"kind": "extend", "shape": [16, 9]}},
        serialize_by_alias=True,
        populate_by_name=True,
    )

    kind: Literal["variations", "change", "repaint", "extend", "instruct"] = Field(
        description="The same with other seeds; the same, but with `words`; an `area` anew; another `shape`; what `words` ask "
        "for, on bases with the ability `base:NAME:instruct`."
    )
    words: Words = Field(
        "", description="The change, such as `with a red scarf`, or a sentence; required for `change` and `instruct`."
    )
    pictures: list[Id] = Field(
        [],
        alias="with",
        max_length=4,
        description="For `instruct`, and on its bases for `repaint`: pictures of a garment or an object that you uploaded to "
        "`/v1/templates`.",
    )
    area: list[Annotated[list[Corner], Field(min_length=3, max_length=500)]] = Field(
        [],
        max_length=20,
        description="For `repaint`: outlines whose corners are shares of width and height, 0 to 1; the rest stays.",
    )
    shape: Annotated[list[Annotated[int, Field(ge=1, le=10_000)]], Field(min_length=2, max_length=2)] | None = Field(
        None, description="For `extend`: width to height, from 1:2 to 2:1; the portrait stays as it is in the middle."
    )
    strength: float | None = Field(None, ge=0.05, le=1, description="How far from the portrait; null for the usual.")
    count: int = Field(1, ge=1, le=16)
    seed: int | None = Field(None, ge=0, le=2**31 - 1, description="null for the seeds after the portrait's.")
    format: Literal["jpg", "png", "webp"] | None = Field(None, description="null for the portrait's own.")

    @model_validator(mode="after")
    def _check_kind(self) -> "EditRequest":
        needs = {"change": ("words", self.words), "repaint": ("area", self.area), "extend": ("shape", self.shape)}
        needs["instruct"] = ("words", self.words)
        if self.kind in needs and not needs[self.kind][1]:
            raise ValueError(f"{self.kind} needs {needs[self.kind][0]}")
        for kind in ("repaint", "extend"):
            if kind != self.kind and needs[kind][1]:
                raise ValueError(f"{needs[kind][0]} is for {kind}")
        if self.pictures and self.kind not in ("instruct", "repaint"):
            raise ValueError("with is for instruct and repaint")
        if self.kind == "instruct" and self.strength is not None:
            raise ValueError("an instruction has no strength")
        if self.shape is not None and max(self.shape) > MAX_ASPECT * min(self.shape):
            raise ValueError("a shape is 1:2 to 2:1")
        return self
