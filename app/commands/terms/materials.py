"""What an installation, or one portrait, is made of: models, styles, fonts and packages, each with its terms."""

import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pipelines import model_requirements
from pipelines.model_store.manifest import Model
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import PortraitError
from portrait.licences import CommercialUse, commercial_use

if TYPE_CHECKING:
    from tasks.styles.available import AvailableStyles
    from templates.schema import StyleFile

MaterialKind: TypeAlias = Literal["program", "model", "style", "picture", "font", "package"]
MAX_LICENCE = 60
"""Letters of what a package calls its licence: longer ones are the licence's text."""
_CLASSIFIER = "License :: "


@dataclass(frozen=True, slots=True)
class Material:
    """One thing that something is made of."""

    kind: MaterialKind
    name: str
    version: str = ""
    licence: str = ""
    """Its SPDX name, or what its maker calls it; empty where nobody said."""
    commercial: CommercialUse = "ask"
    page: str = ""
    note: str = ""
    use_limits: str = ""
    """What is to be handed on with pictures, in a sentence; empty where nothing is."""
    terms_page: str = ""
    """Where those limits stand."""


FONTS = tuple(
    Material(
        "font", name, licence=licence, commercial="yes", page=page, note="Comes with Streamlit; shown on pages alone."
    )
    for name, licence, page in (
        ("Source Sans", "OFL-1.1", "https://github.com/adobe-fonts/source-sans"),
        ("Source Serif", "OFL-1.1", "https://github.com/adobe-fonts/source-serif"),
        ("Source Code Pro", "OFL-1.1", "https://github.com/adobe-fonts/source-code-pro"),
        ("Material Symbols Rounded", "Apache-2.0", "https://github.com/google/material-design-icons"),
    )
)


def of_installation(settings: Settings, styles: "AvailableStyles") -> list[Material]:
    """Return the program, the models that are here, the styles that are offered, the fonts of pages, and all packages."""
    store = ModelStore(settings.models)
    here = [state.model for state in store.list() if state.state != "missing"]
    return [
        Material("program", "portrait", _version("portrait"), "Apache-2.0", "yes"),
        *(_of_model(model, store) for model in here),
        *(_of_base(settings, name) for name in settings.bases),
        *(_of_style(entry.style, settings) for entry in styles.entries()),
        *(FONTS if _version("streamlit") else ()),
        *_packages(importlib.metadata.distributions()),
    ]


def of_portrait(recipe: Mapping[str, Any], settings: Settings, styles: "AvailableStyles") -> list[Material]:
    """Return what drew the portrait of a recipe: its style, or the picture that somebody was put into, and its models."""
    store, made_of = ModelStore(settings.models), dict(recipe.get("style", {}))
    found: list[Material] = []
    id, version = str(made_of.get("id", "")), int(made_of.get("version", 1))
    if id.startswith("picture-"):
        found.append(Material("picture", id, note="A picture of one's own: whoever brought it knows its terms."))
    else:
        with suppress(PortraitError):
            found.append(_of_style(styles.find(id, version).style, settings))
    known = {state.model.name: state.model for state in store.list()}
    for name in model_requirements.models_of_recipe(recipe):
        if name in settings.bases or name not in known:
            found.append(_of_base(settings, name))
        else:
            found.append(_of_model(known[name], store))
    return found


def use_limits(materials: Iterable[Material]) -> dict[tuple[str, str], list[str]]:
    """Return what is to be handed on: sentence and page, each with the names of what asks for it."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in materials:
        if each.use_limits:
            found.setdefault((each.use_limits, each.terms_page), []).append(each.name)
    return found


def _of_model(model: Model, store: ModelStore) -> Material:
    terms = store.terms(model.licence)
    limits = {} if terms is None else {"use_limits": terms.use_limits, "terms_page": terms.page}
    return Material("model", model.name, "", model.licence, model.commercial, model.page, model.note, **limits)


def _of_base(settings: Settings, name: str) -> Material:
    """A base that lies outside the store, or a model that is not there any more."""
    if name not in settings.bases:
        return Material("model", name, note="Not known here: whoever brought it knows its terms.")
    licence, store = settings.bases[name].licence, ModelStore(settings.models)
    terms = store.terms(licence)
    limits = {} if terms is None else {"use_limits": terms.use_limits, "terms_page": terms.page}
    allowed = commercial_use(licence, settings.models.commercial_licences)
    return Material("model", name, "", licence, allowed, note="A base of the settings.", **limits)


def _of_style(style: "StyleFile", settings: Settings) -> Material:
    allowed = commercial_use(style.licence, settings.models.commercial_licences)
    return Material("style", style.id, str(style.version), style.licence, allowed, note=style.credit)


def _packages(distributions: Iterable[importlib.metadata.Distribution]) -> Iterator[Material]:
    """Each installed package once, by name."""
    found = {each.name: each for each in distributions if each.name and each.name != "portrait"}
    for name in sorted(found, key=str.casefold):
        about: Any = found[name].metadata  # a message of the package email, which its type does not say
        licence = _licence(about.get("License-Expression"), about.get("License"), about.get_all("Classifier") or [])
        yield Material("package", name, found[name].version, licence, page=about.get("Home-page") or _home(about))


def _licence(expression: str | None, stated: str | None, classifiers: Iterable[str]) -> str:
    """What a package says of its licence: the SPDX expression, a short name, or its classifiers."""
    if expression:
        return expression
    if stated and len(stated) <= MAX_LICENCE and "\n" not in stated and stated.upper() != "UNKNOWN":
        return stated
    named = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith(_CLASSIFIER)]
    return ", ".join(each for each in named if each != "OSI Approved")


def _home(about: Any) -> str:
    """The first address of a package that leads to its home or source."""
    for each in about.get_all("Project-URL") or []:
        name, _, address = each.partition(",")
        if name.strip().casefold() in ("homepage", "home", "source", "repository", "source code"):
            return address.strip()
    return ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
