"""All pages of the app by key, which is also the path of the address, each with its icon."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from app.operators import accounts, audit, guards, jobs, models, quality, workers
from app.operators.styles import listing, style
from app.people import help as help_page
from app.people import idphotos, photos, portrait, portraits, privacy, progress, styles, welcome
from tasks import schemas

Pages = Mapping[str, tuple[Callable[[], None], str]]
PEOPLE: Pages = MappingProxyType(
    {
        "welcome": (welcome.page, ":material/home:"),
        "photos": (photos.page, ":material/photo_library:"),
        "create": (styles.page, ":material/palette:"),
        "idphoto": (idphotos.page, ":material/id_card:"),
        "progress": (progress.page, ":material/hourglass_top:"),
        "results": (portraits.page, ":material/portrait:"),
        "portrait": (portrait.page, ":material/portrait:"),
        "privacy": (privacy.page, ":material/lock:"),
        "help": (help_page.page, ":material/help:"),
    }
)
OPERATORS: Pages = MappingProxyType(
    {
        "board": (jobs.page, ":material/list_alt:"),
        "machinery": (workers.page, ":material/memory:"),
        "models": (models.page, ":material/deployed_code:"),
        "quality": (quality.page, ":material/insights:"),
        "styles": (listing.page, ":material/style:"),
        "style": (style.page, ":material/style:"),
        "guards": (guards.page, ":material/shield_person:"),
    }
)
ADMINS: Pages = MappingProxyType(
    {
        "accounts": (accounts.page, ":material/group:"),
        "audit": (audit.page, ":material/history:"),
    }
)
OF_ONE_PERSON = frozenset({"photos", "create", "idphoto"})
"""Pages that are about the person of their address."""


def pages_of(role: schemas.Role) -> Pages:
    """The pages that somebody with that role may see."""
    beyond: dict[schemas.Role, Pages] = {"person": {}, "operator": OPERATORS, "admin": {**OPERATORS, **ADMINS}}
    return {**PEOPLE, **beyond[role]}
