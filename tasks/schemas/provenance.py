"""Schema of what is known of where a picture comes from."""

from typing import Literal

from pydantic import Field

from tasks.schemas.shared import ResponseBody


class Provenance(ResponseBody):
    """Where a picture comes from: whether it was made here, how, and whether it was changed since."""

    made_here: Literal["yes", "no", "unknown"] = Field(
        description="`yes` only where our signature fits this very file, or our invisible mark is in its pixels."
    )
    reason: Literal[
        "signed", "marked", "other_installation", "other_signer", "nothing", "unfitting", "says_so", "broken", "small"
    ] = Field(
        description="Why: signed here; our mark found; made by another installation; signed by somebody else; no mark at all; "
        "our signature does not fit this picture; only its XMP says so; credentials that cannot be read; too small for a mark."
    )
    altered: Literal["yes", "no", "unknown"] = Field(description="Whether it was changed since it was signed.")
    credentials: Literal["whole", "foreign", "stripped", "broken", "none"] = Field(
        description="Content credentials (C2PA): ours and fitting, somebody else's and fitting, gone, not fitting, none."
    )
    mark: Literal["ours", "other", "none", "small"] = Field(
        description="The invisible mark: ours, another installation's, not found, or a picture too small to hold one."
    )
    source: str = Field(
        description="IPTC's digital source type; proven where `credentials` is `whole`. Empty: not told."
    )
    signer: str = Field(description="Who signed, as their certificate names them; empty for nobody.")
    generator: str = Field(description="The program that wrote the credentials, as it calls itself.")
    short_id: str = Field(description="Short id of the portrait where the mark is ours, eight hexadecimal digits.")
    portrait: str = Field("", description="Its id, for the owner of the portrait and for operators; empty for others.")
