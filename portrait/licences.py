"""What a licence's name says of commercial use: known names, and words in a name; a reading, not legal advice."""

import re
from collections.abc import Collection
from typing import Literal, TypeAlias

CommercialUse: TypeAlias = Literal["yes", "no", "ask"]
"""`ask`: the terms are unclear, or one must ask for them."""
ALLOWING = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "MIT-0", "Unlicense", "Zlib"),
    *("CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0", "PDDL-1.0"),
    *("CreativeML-OpenRAIL-M", "CreativeML-OpenRAIL++-M", "LicenseRef-OpenRAIL", "LicenseRef-public-domain", "OFL-1.1"),
}
"""SPDX names, and a few of our own, of licences that allow commercial use; some ask for a name or a list of uses beside it."""
FORBIDDING = re.compile(r"\bnc\b|non-?commercial|\bresearch\b", re.IGNORECASE)
"""Words in names of licences that forbid it, as in CC-BY-NC-4.0."""


def commercial_use(licence: str, agreed: Collection[str] = ()) -> CommercialUse:
    """Return whether a licence allows commercial use; `agreed` are names of further ones that do."""
    name = licence.strip()
    if name in agreed or name in ALLOWING:
        return "yes"
    return "no" if FORBIDDING.search(name) else "ask"
