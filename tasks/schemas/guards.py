"""Schemas of guards: faces that are never drawn, and people who may be children."""

from pydantic import Field

from tasks.schemas.shared import Id, Line, RequestBody, ResponseBody, Timestamp


class BlockedPerson(ResponseBody):
    """A face that is never drawn; nothing but numbers is kept of it."""

    id: str
    note: str = Field(description="What the operator wrote about it.")
    added: Timestamp
    added_by: str = Field(description="The operator, as in the audit log.")
    spaces: list[str] = Field(
        description="The embedding spaces in which it is known; finders of faces of other spaces do not find it."
    )


class BlockRequest(RequestBody):
    """A person of an owner whose face is never to be drawn again."""

    owner: Id
    person: Id
    note: Line = Field(examples=["Letter of 3 May"])


class AgeQuestion(ResponseBody):
    """A person for whom a parent or guardian is asked, until an operator notes that they are an adult."""

    owner: str
    person: str
    created: Timestamp
    waiting: bool = Field(description="Whether nobody has agreed yet, so that nothing is drawn.")
