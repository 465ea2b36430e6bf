"""The font of icons, cut down to the icons that the app and Streamlit's own widgets can show: 20 KB in place of 376."""

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont  # 47 MB with what it reads: the app cuts the font in a process of its own

_STREAMLIT = find_spec("streamlit")
FOLDER = Path(str(_STREAMLIT and _STREAMLIT.origin)).parent / "static" / "static"
_APP = Path(__file__).parents[1]
_NAME = re.compile(r"material/([a-z0-9_]+)")


def find_font(folder: Path = FOLDER) -> Path | None:
    """The font's file among Streamlit's; None where there is none."""
    return next((folder / "media").glob("MaterialSymbols-Rounded*.woff2"), None)


def used_icons() -> set[str]:
    """Names of icons in the code of the app and of Streamlit's widgets."""
    code = [*app_sources(), *(FOLDER / "js").glob("*.js")]
    return {name for path in code for name in _NAME.findall(path.read_text("utf-8"))}


def app_sources() -> list[Path]:
    """The code of the app that may name icons."""
    return [*_APP.rglob("*.py"), *_APP.rglob("*.js")]


def cut_elsewhere(path: Path) -> bytes:
    """The font with the icons that are used, cut by a process of its own; the whole font where that fails."""
    command = [sys.executable, "-m", __name__, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603 -- our own module
    return path.read_bytes() if done.returncode else done.stdout


def cut_font(path: Path, names: set[str]) -> bytes:
    """The font with the icons of those names alone, as WOFF2; names that it does not know are left out."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    font = TTFont(path)
    letters = font.getBestCmap() or {}
    by_name = dict(_ligatures(font))
    spelled = {name: tuple(letters.get(ord(letter), "") for letter in name) for name in names}
    icons = {by_name[glyphs] for glyphs in spelled.values() if glyphs in by_name}
    # An icon is a ligature of its name: closing over the letters would bring all icons back.
    options = subset.Options(layout_closure=False, layout_features=["*"], notdef_outline=True, glyph_names=False)
    cutter = subset.Subsetter(options)
    cutter.populate(glyphs=icons, unicodes=[code for code in letters if chr(code).isascii()])
    cutter.subset(font)
    font.flavor = "woff2"
    content = io.BytesIO()
    font.save(content)
    return content.getvalue()


def icon_names(path: Path) -> set[str]:
    """Names of the icons that a font has."""
    from fontTools.ttLib import TTFont

    font = TTFont(path)
    signs = {glyph: chr(code) for code, glyph in (font.getBestCmap() or {}).items()}
    return {"".join(signs.get(glyph, "") for glyph in glyphs) for glyphs, _ in _ligatures(font)}


def _ligatures(font: "TTFont") -> Iterator[tuple[tuple[str, ...], str]]:
    """Glyphs of the letters of a name, with the glyph that stands for all of them."""
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in lookup.SubTable:
            for first, ligatures in getattr(getattr(table, "ExtSubTable", table), "ligatures", {}).items():
                for each in ligatures:
                    yield (first, *each.Component), each.LigGlyph


if __name__ == "__main__":
    sys.stdout.buffer.write(cut_font(Path(sys.argv[1]), used_icons()))
