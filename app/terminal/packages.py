"""The packages of an installation: which of the base's or of an extra's are missing, and the command that installs them."""

import importlib.metadata
import re

from portrait.errors import OperatorError


def missing(extra: str = "") -> list[str]:
    """Names of the packages that the base, or an extra of pyproject.toml, asks for and that are not installed."""
    found: list[str] = []
    for line in importlib.metadata.requires("portrait") or []:
        needed_by = re.search(r"extra == ['\"]([a-z]+)['\"]", line)
        if (needed_by[1] if needed_by else "") != extra:
            continue
        if inner := re.match(r"portrait\[([a-z]+)\]", line):
            found += missing(inner[1])
        elif not version(name := re.split(r"[^A-Za-z0-9._-]", line)[0]):
            found.append(name)
    return found


def version(package: str) -> str:
    """The installed version of a package; empty when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def install_command(extra: str) -> str:
    """The command that installs an extra, run in the project's folder."""
    return f"pip install -c constraints.txt '.[{extra}]'"


def require(extra: str, purpose: str) -> None:
    """Raise `OperatorError` (`missing_library`) unless every package of an extra is installed."""
    if names := missing(extra):
        sentence = f"{purpose} needs packages that are not installed: {', '.join(names)}. Run: {install_command(extra)}"
        raise OperatorError("missing_library", sentence)
