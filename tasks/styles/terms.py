"""Terms of styles: whether the profile of the installation lets a style be published and drawn in."""

from collections.abc import Mapping
from dataclasses import replace

from pipelines import model_requirements
from pipelines.model_store.manifest import ModelKind, refusal
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import UserError
from portrait.types import Style
from templates import lint
from templates.schema import StyleFile
from templates.style import to_style

NAMED: tuple[ModelKind, ...] = ("base", "lora", "ip-adapter")
"""Kinds of models that a style names."""


def with_terms(here: lint.Installed, settings: Settings) -> lint.Installed:
    """Return what is installed with the terms that the settings hold styles to: none unless the profile is commercial."""
    if settings.profile != "commercial":
        return here
    models = ModelStore(settings.models)
    named = (model.name for kind in NAMED for model in models.of_kind(kind))
    refused = {model.name: refusal(model) for model in models.refused(named)}
    of_bases = {name: model_requirements.refused_base(settings, name, models) for name in settings.bases}
    refused |= {name: sentence for name, sentence in of_bases.items() if sentence}
    return replace(here, agreed_licences=frozenset(settings.models.commercial_licences), refused=refused)


def check_terms(style: StyleFile, settings: Settings) -> None:
    """Raise `UserError` (`licence_refused`) for a style that the profile refuses, or that names a model it refuses."""
    for found in lint.lint_terms(style, with_terms(lint.Installed(), settings)):
        raise UserError("licence_refused", f"The style {style.id} cannot be drawn in here. {found.tip}", _named(found))


def to_allowed_style(file: StyleFile, settings: Settings, traits: Mapping[str, str] | None = None) -> Style:
    """Return the `Style` of a style.toml, as `templates.style.to_style`; raises `UserError` (`licence_refused`)."""
    check_terms(file, settings)
    return to_style(file, traits)


def _named(found: lint.Finding) -> dict[str, object]:
    return {"fields": [{"where": found.where, "code": found.code, "message": found.tip}]}
