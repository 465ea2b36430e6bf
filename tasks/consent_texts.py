"""The texts of consent in all their versions and languages: those of this program, and those of the operator after them.

A text that was published never changes, because consents name its version and hash: other words are another version. Where
`asks_again` is set, consents to the versions before do not hold any more, and everybody is asked again.
"""

import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from portrait.errors import OperatorError, reading_fault

BUILT_IN = Path(__file__).with_suffix(".toml")
FALLBACK = "en"
"""The language of a text that is not there in the one that was asked for; without it, the first that is there."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class ConsentWords(_Part):
    """A text in one language: what is explained, and the statements that are made with it."""

    paragraphs: list[str] = Field(min_length=1)
    """`{days}` stands for the days after which everything is erased."""
    agree: str
    adult: str
    """That who agrees is of age; in texts before 2027-01, that everybody is."""
    myself: str = Field("", alias="self")
    """Whom the photos show: the person who agrees …"""
    proxy: str = ""
    """… somebody who gave them permission …"""
    guardian: str = ""
    """… or somebody whose legal guardian they are."""
    pictures: str = ""
    """What is stated of the people on an uploaded picture."""

    @property
    def sha256(self) -> str:
        """The hash that consents are recorded with: of the parts that are not empty, as JSON in UTF-8 with sorted keys."""
        parts = {name: value for name, value in self.model_dump(by_alias=True).items() if value}
        return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class ConsentText(_Part):
    """One version of the text."""

    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")
    asks_again: bool = False
    """Whether consents to the versions before it end."""
    words: dict[str, ConsentWords] = Field(min_length=1)
    """By language, as `en` or `zh`."""


class _File(_Part):
    texts: list[ConsentText]


def load_texts(more: Path | None = None) -> Sequence[ConsentText]:
    """Load the texts, the newest last, those of the file `more` behind; raises `OperatorError` (`bad_settings`)."""
    texts = [*_read(BUILT_IN), *(_read(more) if more else [])]
    versions = [text.version for text in texts]
    twice = sorted({each for each in versions if versions.count(each) > 1})
    if twice:
        raise OperatorError("bad_settings", f"Two texts of consent have the version {twice[0]}. Give each its own.")
    return texts


def _read(path: Path) -> list[ConsentText]:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        return _File.model_validate(content).texts
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5])
        raise OperatorError("bad_settings", f"The texts of consent {path} do not hold: {where}.") from error
    except (OSError, ValueError, RecursionError) as error:  # numbers too long, nested too deep
        sentence = f"The texts of consent {path} (tasks.consent.texts) cannot be read: {reading_fault(error)}."
        raise OperatorError("bad_settings", sentence) from error
