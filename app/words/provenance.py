"""What is known of where a picture comes from, in the sentences of a language: for the page and the command that verify."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.words.formats import join_sentences
from app.words.translation import translate, translate_or


@dataclass(frozen=True, slots=True)
class Description:
    """One picture in sentences."""

    answer: str
    """Whether it was made here."""
    reason: str
    """Why that is said."""
    details: Sequence[tuple[str, str]]
    """Short questions with their answers: how it was made, whether it was changed, its marks, which portrait it is."""


def describe(language: str, known: Mapping[str, Any]) -> Description:
    """Put into sentences what is known; `known` has the fields of `pipelines.marks.verify.Provenance` and of the task API."""
    details = [
        (translate(language, "verify.how"), _how(language, known)),
        (translate(language, "verify.changed"), _changed(language, known)),
        (translate(language, "verify.credentials"), _credentials(language, known)),
        (translate(language, "verify.mark"), translate(language, f"verify.mark_{known['mark']}")),
    ]
    if known["short_id"]:
        details.append((translate(language, "verify.portrait"), known["short_id"]))
    answer = translate(language, f"verify.made_{known['made_here']}")
    return Description(answer, translate(language, f"verify.reason_{known['reason']}"), tuple(details))


def _how(language: str, known: Mapping[str, Any]) -> str:
    """By which kind of process; where no signature proves it, as what the file says."""
    source = known["source"]
    if not source:
        return translate(language, "verify.source_none")
    told = translate_or(language, f"verify.source_{source}", translate(language, "verify.source_other", name=source))
    proven = known["credentials"] == "whole"
    return told if proven else join_sentences(language, [told, translate(language, "verify.source_said")])


def _changed(language: str, known: Mapping[str, Any]) -> str:
    """Whether it was changed; a mark without credentials tells that the file was at least saved again."""
    saved_again = known["altered"] == "unknown" and known["reason"] == "marked"
    return translate(language, f"verify.changed_{'saved' if saved_again else known['altered']}")


def _credentials(language: str, known: Mapping[str, Any]) -> str:
    """The state of the credentials, and whose they are where that is not this installation."""
    told = [translate(language, f"verify.credentials_{known['credentials']}")]
    if known["credentials"] in {"foreign", "broken"}:
        names = {"signer": known["signer"], "program": known["generator"]}
        told += [translate(language, f"verify.by_{of}", name=name) for of, name in names.items() if name]
    return join_sentences(language, told)
