"""Hypothesis strategies that spoil what is whole: bytes of files, texts, and trees as JSON and TOML have them."""

import copy
import json
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

HEAD = 600
"""Bytes at the beginning of a file in which half of all edits are made: what is parsed lies there."""
NUMBERS = (
    *(b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\x00\x00\x00"),
    *(b"\x00\x00", b"\xff\xff", b"\x7f\xff", b"\x01\x00\x00\x00", b"\x00\x00\x00\x01"),
)
"""Sizes and offsets at which parsers go wrong, in both orders of bytes."""
TEXTS = (
    *("9" * 5000, "1e400", "-1", "nan", "-inf", "1979-05-27T07:32:00Z", "0x7fffffffffffffffff", "true", "null"),
    *(
        "[" * 2000,
        "{" * 2000,
        '{"a":' * 2000,
        "a." * 2000,
        "(" * 500,
        ")" * 500,
        '"',
        "'''",
        '"""',
        "\\",
        "\\u0000",
        "\\ud800",
    ),
    *(
        "\x00",
        "\r",
        "\n",
        "\u2028",
        "\ufeff",
        "é",
        "é",
        "😀",
        "..",
        "/",
        "../../x",
        "$(x)",
        "%s",
        "{0.__class__}",
        "<a>",
        "]]>",
    ),
)
"""Pieces that texts are spoilt with."""
Edit = tuple[str, int, int, bytes]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(("set", "set", "insert", "delete", "cut", "repeat", "number", "piece")),
        st.integers(0, 1 << 24),
        st.integers(0, 1 << 24),
        st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=6,
)
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from((0, -1, 1 << 63, 10**400, 1e308, float("inf"), float("nan"), "", "0", "a" * 3000, *TEXTS[:8])),
    st.floats(),
    st.text(max_size=12),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
"""Whatever JSON can say, and numbers that it cannot."""


def spoilt(whole: Sequence[bytes], pieces: Sequence[str] = ()) -> st.SearchStrategy[bytes]:
    """Files with some edits; `pieces` are texts to put in beside numbers. Seldom, bytes that were no such file."""
    tokens = [piece.encode("utf-8", "surrogatepass") for piece in pieces] or list(NUMBERS)
    edited = st.tuples(st.sampled_from(list(whole)), EDITS).map(lambda drawn: _edited(*drawn, tokens))
    return st.integers(0, 29).flatmap(lambda number: edited if number else st.binary(max_size=200))


def _edited(content: bytes, edits: Sequence[Edit], tokens: Sequence[bytes]) -> bytes:
    made = bytearray(content)
    for kind, where, number, values in edits:
        room = min(len(made), HEAD) if where % 2 else len(made)
        at = where // 2 % (room + 1)
        if kind == "set":
            made[at : at + len(values)] = values
        elif kind == "insert":
            made[at:at] = values
        elif kind == "delete":
            del made[at : at + 1 + number % 64]
        elif kind == "cut":
            del made[number % (len(made) + 1) :]
        elif kind == "repeat":
            made[at:at] = bytes(made[at : at + 1 + number % 100]) * (1 + number % 40)
        elif kind == "number":
            value = NUMBERS[number % len(NUMBERS)]
            made[at : at + len(value)] = value
        else:
            made[at:at] = tokens[number % len(tokens)]
    return bytes(made)


def with_checksums(content: bytes) -> bytes:
    """A spoilt PNG whose chunks have checksums that hold, so that what is in them is looked at."""
    made, at = bytearray(content), 8
    while at + 12 <= len(made):
        end = at + 8 + int.from_bytes(made[at : at + 4], "big")
        if end + 4 > len(made):
            break
        made[end : end + 4] = zlib.crc32(made[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(made)


@st.composite
def altered(draw: Callable[[st.SearchStrategy[Any]], Any], trees: Sequence[Any]) -> Any:
    """A tree in which one to four places hold something else, are gone, or are there twice."""
    tree = copy.deepcopy(draw(st.sampled_from(list(trees))))
    for _ in range(draw(st.integers(1, 4))):
        place, key = _place(tree, draw(st.lists(st.integers(0, 1 << 16), min_size=1, max_size=6)))
        if place is None:
            return draw(TREES)
        kind = draw(st.sampled_from(("other", "other", "other", "gone", "more", "longer")))
        if kind == "other":
            place[key] = draw(TREES)
        elif kind == "gone":
            del place[key]
        elif isinstance(place, list):
            place.insert(key, copy.deepcopy(place[key]))
        elif kind == "longer":
            place[re.sub("[0-9]+", "9" * 5000, str(key), count=1)] = place.pop(key)
        else:
            place[f"{key}{draw(st.text(max_size=3))}"] = draw(TREES)
    return tree


def _place(tree: Any, steps: Sequence[int]) -> tuple[Any, Any]:
    """A list or table somewhere in a tree and one of its keys; None where the tree has none."""
    here: Any = None
    key: Any = None
    for step in steps:
        inner = tree if here is None else here[key]
        if not isinstance(inner, dict | list) or not inner:
            break
        here = inner
        key = step % len(here) if isinstance(here, list) else list(here)[step % len(here)]
    return here, key


def to_json(tree: Any) -> bytes:
    """A tree as JSON, with what Python's own writer takes beside it: NaN, infinity, single surrogates."""
    return json.dumps(tree).encode()
