"""Builds the wheel `portrait-client`: the client, the schemas and the errors of this project as one package, `portrait_client`.

The files are those of the project, with the names of the packages that they import changed, so that both can be installed.
"""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parents[3]
PARTS = {"tasks.client": "portrait_client", "tasks.schemas": "portrait_client.schemas"}
"""Packages of the project, and what they are called in the wheel."""
FACE = '''"""Clients of Portrait's task API: `Client` blocks, `AsyncClient` is awaited; `schemas` is what they send and get."""

from portrait_client import schemas
from portrait_client.client import AsyncClient, Client
from portrait_client.errors import Cancelled, EngineError, OperatorError, PortraitError, UserError

__all__ = ["AsyncClient", "Cancelled", "Client", "EngineError", "OperatorError", "PortraitError", "UserError", "schemas"]
'''


def renamed(text: str) -> str:
    """The text of a module with its imports as they are in the wheel."""
    text = re.sub(r"^from tasks import schemas$", "from portrait_client import schemas", text, flags=re.M)
    text = re.sub(r"^from portrait\.errors import", "from portrait_client.errors import", text, flags=re.M)
    for here, there in PARTS.items():
        text = re.sub(rf"^from {re.escape(here)}\b", f"from {there}", text, flags=re.M)
    return text


class BuildClient(build_py):
    """Writes the package into the build's folder."""

    def run(self) -> None:
        """Write each module."""
        place = Path(self.build_lib)  # pyrefly: ignore[bad-argument-type] -- set before it is run
        for here, there in PARTS.items():
            folder = place.joinpath(*there.split("."))
            folder.mkdir(parents=True, exist_ok=True)
            for module in sorted(ROOT.joinpath(*here.split(".")).glob("*.py")):
                (folder / module.name).write_text(renamed(module.read_text("utf-8")), "utf-8")
        (place / "portrait_client" / "errors.py").write_text(
            (ROOT / "portrait" / "errors.py").read_text("utf-8"), "utf-8"
        )
        (place / "portrait_client" / "__init__.py").write_text(FACE, "utf-8")
        (place / "portrait_client" / "py.typed").touch()

    def get_source_files(self) -> list[str]:
        """No files of this folder."""
        return []


with TemporaryDirectory() as made:
    setup(
        packages=["portrait_client"],
        cmdclass={"build_py": BuildClient},
        options={
            "build": {"build_base": made},
            "egg_info": {"egg_base": made},
            "bdist_wheel": {"bdist_dir": f"{made}/wheel"},
        },
    )
