"""Pictures inside installed packages: a fixed list, found without importing the package and checked by their SHA-256."""

import hashlib
import importlib.util
from pathlib import Path

from portrait.errors import OperatorError

SHA256 = {
    ("skimage", "data/astronaut.png"): "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ("skimage", "data/coffee.png"): "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ("insightface", "data/images/t1.jpg"): "47f682e945b659f93a9e490b9c9c4a2a864abe64dace9e1a2893845ddfd69489",
}
"""By package and path: the pictures that sample photos, sample people and built-in styles are made from. No other file of a
package is ever looked for: a style from outside must not choose what is read or imported."""
ADVICE = "Install the versions of constraints.txt with `make install`."


def find_picture(package: str, path: str) -> Path:
    """Return where a picture of the list lies.

    Raises `OperatorError` (`missing_picture`) when package or picture are missing, or the picture is another one or not listed.
    """
    expected = SHA256.get((package, path))
    if expected is None:
        raise OperatorError(
            "missing_picture", "Pictures of installed packages are for built-in styles. Give a file instead."
        )
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise OperatorError("missing_picture", f"The package {package}, which holds {path}, is not installed. {ADVICE}")
    found = Path(spec.origin).parent / path
    if not found.is_file():
        raise OperatorError("missing_picture", f"The package {package} holds no picture {path}. {ADVICE}")
    if hashlib.sha256(found.read_bytes()).hexdigest() != expected:
        raise OperatorError("missing_picture", f"The picture {path} of the package {package} is another one. {ADVICE}")
    return found
