"""A bill of materials as CycloneDX 1.6 in JSON, the form that other programs read."""

import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from app.commands.terms.materials import Material, MaterialKind

TYPES: Mapping[MaterialKind, str] = {
    "program": "application",
    "model": "machine-learning-model",
    "style": "data",
    "picture": "data",
    "font": "file",
    "package": "library",
}
"""CycloneDX's type of a component by kind."""
SPDX = {
    *(
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC-BY-4.0",
        "CC-BY-NC-4.0",
        "CC0-1.0",
        "HPND",
        "ISC",
    ),
    *("LGPL-3.0-only", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "OFL-1.1", "PSF-2.0", "Unlicense", "Zlib"),
}
"""Names that stand in the list of SPDX as they are; any other is told as a name of its own, which the form allows."""
_EXPRESSION = re.compile(r"[A-Za-z0-9.-]+( (AND|OR|WITH) [A-Za-z0-9.-]+)+")


def document(subject: Material, materials: Iterable[Material]) -> dict[str, Any]:
    """Return the bill of `subject`, which is made of `materials`."""
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "component": _component(subject),
        },
        "components": [_component(each) for each in materials],
    }


def _component(material: Material) -> dict[str, Any]:
    told = {
        "portrait:kind": material.kind,
        # Whoever looks for what sells reads this of models and styles; of packages nobody has read the terms here.
        "portrait:commercial": "" if material.kind == "package" else material.commercial,
        "portrait:use-limits": material.use_limits,
        "portrait:use-limits-page": material.terms_page,
    }
    return {
        "type": TYPES[material.kind],
        "bom-ref": f"{material.kind}:{material.name}@{material.version}",
        "name": material.name,
        **({"version": material.version} if material.version else {}),
        **({"description": material.note} if material.note else {}),
        **({"purl": _purl(material)} if material.kind == "package" else {}),
        **({"licenses": [_licence(material.licence)]} if material.licence else {}),
        **({"externalReferences": [{"type": "website", "url": material.page}]} if material.page else {}),
        "properties": [{"name": name, "value": value} for name, value in told.items() if value],
    }


def _licence(name: str) -> dict[str, Any]:
    if _EXPRESSION.fullmatch(name):
        return {"expression": name}
    return {"license": {"id" if name in SPDX else "name": name}}


def _purl(material: Material) -> str:
    """The package's address as PyPI spells it."""
    return f"pkg:pypi/{re.sub(r'[-_.]+', '-', material.name).lower()}@{material.version}"
