"""Which words people's own prompts may not hold: what is sexual, more for children, and names of an installation's list.

The lists lie beside this file. Texts are compared as they are read, not as they are typed: without case, accents, full width
and invisible signs, with look-alike letters and digits taken for letters, and with letters that stand apart joined.
"""

import itertools
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from portrait.errors import UserError

LISTS = Path(__file__).with_suffix(".toml")
ADULT = 18
"""Years from which somebody is of age."""
_LETTERS = str.maketrans("аеорсхуіјѕԁһνοαερτικ", "aeopcxyijsdhvoaeptik")
"""Cyrillic and Greek letters that look like Latin ones."""
_DIGITS = str.maketrans("0134578@$!|", "oieastbasii")
"""Digits and signs that are read as letters."""
_SIMPLE = str.maketrans(
    "體脫強姦陰莖頭愛褲內裝暈處點誘歲學兒嬰寶無亂倫調絲襪黃圖",
    "体脱强奸阴茎头爱裤内装晕处点诱岁学儿婴宝无乱伦调丝袜黄图",
)
"""Traditional signs of the lists, as the simplified ones that stand there."""
_HAN = r"\u3400-\u9fff"
_AGE = re.compile(r"(?<!\d)(\d{1,2}) ?(?:(?:years?|yrs?) ?old|(?:yo|y o|yrs?|years?)(?![a-z]))")
_HAN_AGE = re.compile(r"(?<![\d一二三四五六七八九十百两])(?:(\d{1,2})|(十?[一二三四五六七八九]|十))周?岁")
_HAN_DIGITS = "零一二三四五六七八九"


@dataclass(frozen=True, slots=True)
class _Words:
    """The lists of one script, as patterns."""

    passes: re.Pattern[str]
    sexual: re.Pattern[str]
    minors: re.Pattern[str]
    suggestive: re.Pattern[str]


def check_words(texts: Sequence[str], names: Sequence[str] = (), child: bool = False) -> None:
    """Raise `UserError` (`words_refused`) where texts of one request may not be drawn; see `is_refused`."""
    if is_refused(texts, names, child):
        sentence = "Some words of this request may not be drawn here. Describe the picture in other words."
        raise UserError("words_refused", sentence)


def is_refused(texts: Sequence[str], names: Sequence[str] = (), child: bool = False) -> bool:
    """Whether texts of one request ask for something sexual, or name somebody.

    `names`: as an installation lists them, found as whole words, Chinese ones anywhere. `child`: somebody who may be one is
    drawn, which more words are not fit for.
    """
    latin, han = _lists()
    views = list(itertools.chain.from_iterable(_latin_views(text) for text in texts))
    signs = [_han_view(text) for text in texts]
    plain = [latin.passes.sub(" ", view) for view in views]
    dense = [han.passes.sub(" ", view) for view in signs]
    if any(map(latin.sexual.search, plain)) or any(map(han.sexual.search, dense)):
        return True
    if any(_is_named(name, views, signs) for name in names):
        return True
    young = (
        child or any(map(_says_young, views, itertools.repeat(latin))) or any(_says_young(each, han) for each in signs)
    )
    return young and (any(map(latin.suggestive.search, plain)) or any(map(han.suggestive.search, dense)))


def parse_names(text: str) -> tuple[str, ...]:
    """The names of a list: one a line; empty lines, and what follows a `#`, are left out."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if any(each.isalnum() for each in line))


def _says_young(text: str, words: _Words) -> bool:
    """Whether a text speaks of a child, by a word or an age."""
    ages = [int(each) for each in _AGE.findall(text)]
    for digits, signs in _HAN_AGE.findall(text):
        ages.append(int(digits) if digits else _number(signs))
    return any(each < ADULT for each in ages) or words.minors.search(text) is not None


def _number(signs: str) -> int:
    """A number from 1 to 19 in Chinese signs."""
    ones = _HAN_DIGITS.find(signs[-1]) if signs[-1] != "十" else 0
    return ones + (10 if "十" in signs else 0)


def _is_named(name: str, latin: Sequence[str], han: Sequence[str]) -> bool:
    """Whether a name stands in a text; its parts may stand without a space between them."""
    if re.search(f"[{_HAN}]", name):
        wanted = _han_view(name)
        return any(wanted in view for view in han)
    parts = [re.escape(part) for part in _split(_read(name))]
    return any(re.search(rf"(?<![^\W_]){' ?'.join(parts)}(?![^\W_])", view) for view in latin)


def _read(text: str) -> str:
    """A text in small letters, without full width, accents and invisible signs."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = (each for each in apart if unicodedata.category(each) not in ("Mn", "Me", "Cf"))
    return unicodedata.normalize("NFKC", "".join(kept)).translate(_LETTERS)


def _split(text: str) -> list[str]:
    return re.findall(rf"[{_HAN}]+|[^\W_{_HAN}]+", text)


def _latin_views(text: str) -> Iterator[str]:
    """A text as words with one space between them: as it is, and with digits read as letters, single letters joined and
    letters that are repeated once or twice."""
    read = _read(text)
    words = _split(read)
    yield " ".join(words)
    letters = _split(" ".join(_as_letters(each) for each in read.split()))
    joined = _join_single(letters)
    for often in (1, 2):
        yield " ".join(re.sub(r"(.)\1{2,}", r"\1" * often, each) for each in joined)


def _as_letters(word: str) -> str:
    """A word with digits and signs as the letters they look like, unless it is a number or ends as a sentence does."""
    inner = word.rstrip("!|")
    return inner.translate(_DIGITS) if re.search(r"[a-z]", inner) else word


def _join_single(words: Sequence[str]) -> list[str]:
    """Words, with three or more single letters in a row as one word: `n u d e`."""
    out: list[str] = []
    for single, run in itertools.groupby(words, key=lambda each: len(each) == 1 and each.isascii() and each.isalpha()):
        row = list(run)
        out += ["".join(row)] if single and len(row) > 2 else row
    return out


def _han_view(text: str) -> str:
    """A text without spaces and marks, in simplified signs."""
    return "".join(_split(_read(text))).translate(_SIMPLE)


@lru_cache(maxsize=1)
def _lists() -> tuple[_Words, _Words]:
    read = tomllib.loads(LISTS.read_text("utf-8"))
    return _Words(**_patterns(read["en"], r"(?<![^\W_])(?:{})(?![^\W_])")), _Words(**_patterns(read["zh"], "(?:{})"))


def _patterns(lists: Mapping[str, Sequence[str]], frame: str) -> dict[str, re.Pattern[str]]:
    return {
        name: re.compile(frame.format("|".join(_pattern(each) for entry in entries for each in _alternatives(entry))))
        for name, entries in lists.items()
    }


def _pattern(word: str) -> str:
    """One entry of a list as a pattern."""
    plain = " ".join(word.rstrip("*").split())
    return re.escape(plain) + (r"\w*" if word.endswith("*") else "")


def _alternatives(entry: str) -> Iterator[str]:
    """An entry with each choice of its braces: `nude{,s}` as `nude` and `nudes`."""
    parts = [part[1:-1].split(",") if part.startswith("{") else [part] for part in re.split(r"(\{[^{}]*\})", entry)]
    for chosen in itertools.product(*parts):
        yield "".join(chosen)
