"""One TOML file and the environment, read once by each process.

`$PORTRAIT_HOME` (default `~/.portrait`) holds everything the program keeps; `portrait.toml` in it holds the settings. An
environment variable overrules one setting: `PORTRAIT_PREPARE__MOST=12` is `most` of `[prepare]`. Unknown names are refused.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from pipelines.settings import Settings
from portrait.errors import OperatorError

# These name places and secrets, not settings of the tree.
_OWN = {"PORTRAIT_HOME", "PORTRAIT_SETTINGS", "PORTRAIT_HUB_TOKEN", "PORTRAIT_API_URL"}


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds everything the program keeps."""
    return Path(environment.get("PORTRAIT_HOME") or "~/.portrait").expanduser().absolute()


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; raises `OperatorError` (`bad_settings`) that names each wrong line."""
    path = Path(environment.get("PORTRAIT_SETTINGS") or home(environment) / "portrait.toml")
    tree = _read(path, required="PORTRAIT_SETTINGS" in environment)
    for name, value in environment.items():
        if name.startswith("PORTRAIT_") and name not in _OWN:
            _put(tree, name, value)
    models = tree.setdefault("models", {})
    if isinstance(models, dict):
        if "hub_token" in models:
            raise OperatorError(
                "bad_settings",
                "A secret does not belong in a file: remove models.hub_token and set PORTRAIT_HUB_TOKEN.",
            )
        models.setdefault("folder", str(home(environment) / "models"))
        models["hub_token"] = environment.get("PORTRAIT_HUB_TOKEN", "")
    return _validated(tree, path)


def _read(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise OperatorError("bad_settings", f"The settings file {path} does not exist.") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OperatorError("bad_settings", f"The settings file {path} cannot be read: {error}.") from error


def _put(tree: dict[str, Any], name: str, value: str) -> None:
    """Put one variable into the tree: PORTRAIT_MODELS__USE → tree["models"]["use"]."""
    *branches, leaf = name.removeprefix("PORTRAIT_").lower().split("__")
    for branch in branches:
        tree = tree.setdefault(branch, {})
        if not isinstance(tree, dict):
            raise OperatorError(
                "bad_settings", f"{name} does not fit the settings: {branch!r} is a value, not a section."
            )
    tree[leaf] = value


def _validated(tree: dict[str, Any], path: Path) -> Settings:
    strict = with_config(ConfigDict(extra="forbid"))
    try:
        return TypeAdapter(strict(Settings)).validate_python(tree)
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(str(part) for part in wrong['loc'])}: {wrong['msg']}" for wrong in error.errors())
        raise OperatorError(
            "bad_settings", f"The settings do not hold ({path} or the environment): {lines}."
        ) from error
