"""People's own words in a recipe, encrypted with the installation's key: only where a portrait was made are they read again.

What is a person's own stands under the names of `PRIVATE` wherever they are in a recipe. It is taken out and stored in one
piece as `private`, AES-256 in GCM; nobody else can read it, and nobody can change it unnoticed.
"""

import base64
import copy
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portrait.errors import UserError

PRIVATE = ("prompt", "negative", "traits", "words")
"""Fields of recipes that hold words: of the request, of an edit, and the prompts made of them and a style's."""
FIELD = "private"
NONCE_BYTES = 12


def encrypt(recipe: Mapping[str, Any], secret: bytes) -> dict[str, Any]:
    """Return the recipe as files carry it: without own words, which are encrypted; `secret` has 32 bytes."""
    public = copy.deepcopy(dict(recipe))
    taken = [[[*path], _take(public, path)] for path in list(_paths(public))]
    if not taken:
        return public
    nonce = os.urandom(NONCE_BYTES)
    closed = AESGCM(secret).encrypt(nonce, json.dumps(taken, separators=(",", ":")).encode(), FIELD.encode())
    return public | {FIELD: base64.urlsafe_b64encode(nonce + closed).decode()}


def decrypt(recipe: Mapping[str, Any], secret: bytes) -> dict[str, Any]:
    """Return the recipe with its own words, as it was before `encrypt`; one that holds none encrypted is returned as it is.

    Raises `UserError` (`recipe_sealed`) where another installation encrypted them, or they were changed.
    """
    whole = copy.deepcopy(dict(recipe))
    closed = whole.pop(FIELD, None)
    if closed is None:
        return whole
    try:
        content = base64.urlsafe_b64decode(str(closed))
        opened = AESGCM(secret).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], FIELD.encode())
        for path, value in json.loads(opened):
            _put(whole, path, value)
    except (InvalidTag, ValueError, LookupError, TypeError) as error:
        sentence = (
            "The words of this portrait are sealed by another installation, and only that one can draw it again. "
            "Open the file where it was made."
        )
        raise UserError("recipe_sealed", sentence) from error
    return whole


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where own words are: keys of objects and places in lists, from the outside in."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, each in entries:
        if _is_private(key, each):
            yield *path, key
        else:
            yield from _paths(each, (*path, key))


def _is_private(key: object, value: object) -> bool:
    # A base that was given as a file has that file's name.
    return bool(value) and (key in PRIVATE or (key == "base" and PurePath(str(value)).suffix != ""))


def _take(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        tree = tree[key]
    return tree.pop(path[-1])


def _put(tree: Any, path: list[Any], value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value
