"""`portrait models merge`: a base model from two of one family, blended by blocks."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line

if TYPE_CHECKING:
    from pipelines.model_store.add import NewModel
    from pipelines.model_store.manifest import Commercial
    from pipelines.model_store.store import ModelStore

Base = Annotated[str, typer.Argument(metavar="BASE", help="A base's name, its folder, or a single file of it.")]
Out = Annotated[
    str,
    typer.Option("--out", "-o", metavar="NAME|PLACE", help="Name of the new model; or FILE.safetensors, or ./FOLDER."),
]
How = Annotated[
    Literal["lerp", "slerp"], typer.Option("--how", help="On the straight line between two, or on the arc.")
]
Alpha = Annotated[float | None, typer.Option("--alpha", min=0, max=1, help="0 is the first base, 1 the second; 0.5.")]
Blocks = Annotated[
    str,
    typer.Option("--blocks", metavar="0.1,0.2,…", help="Alphas by block: BASE, IN…, M00, OUT…, in place of --alpha."),
]
Licence = Annotated[str, typer.Option("--licence", help="Of the new model; needed where the two have none in common.")]
Terms = Annotated[
    Literal["yes", "no", "ask"] | None, typer.Option("--commercial", help="Whether it may be used commercially.")
]


def merge(
    first: Base,
    second: Base,
    out: Out,
    how: How = "lerp",
    alpha: Alpha = None,
    blocks: Blocks = "",
    licence: Licence = "",
    commercial: Terms = None,
    as_json: Json = False,
) -> None:
    """Merge two base models of one family, by blocks where --blocks says so."""
    with cli_output(as_json) as output:
        from pipelines import build
        from pipelines.model_store.add import NewModel
        from pipelines.model_store.store import ModelStore
        from portrait.errors import UserError
        from portrait.generation.prompts import parse_block_weights
        from tasks.settings import load

        settings, is_name = load(), "/" not in out and not out.endswith(".safetensors")
        if blocks and alpha is not None:
            raise UserError("bad_blocks", "Give either --alpha or --blocks, whose first number is that of BASE.")
        options = (how, 0.5 if alpha is None else alpha, parse_block_weights(blocks) if blocks else ())
        if not is_name:
            made = build.merge_bases(settings, (first, second), Path(out), *options)
            output(_answer(out, made.kept), lambda: _print(f"Written to {out}", made.kept))
            return
        models = ModelStore(settings.models)
        terms = _terms(models, (first, second), licence, commercial)
        settings.models.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".merge-", dir=settings.models.folder) as work_dir:
            place = Path(work_dir) / out
            made = build.merge_bases(settings, (first, second), place, *options)
            if place.is_file():
                place = place.rename(place.with_suffix(".safetensors"))
            purpose = f"Merged from {first} and {second}"
            _add(models, NewModel(out, "base", str(place), *terms, family=made.family, purpose=purpose))
        output(
            _answer(out, made.kept), lambda: _print(f"{out} is in the model store: draw with --base {out}", made.kept)
        )


def _terms(
    models: "ModelStore", names: tuple[str, str], licence: str, commercial: "Commercial | None"
) -> "tuple[str, Commercial]":
    """Licence and terms of the new model: as given, or those that both models of the store have."""
    from portrait.errors import UserError

    known = [model for model in models.of_kind("base") if model.name in names]
    licences = {model.licence for model in known} if len(known) == len(set(names)) else set()
    if not licence and len(licences) != 1:
        raise UserError(
            "bad_merge", "Say under which licence the merged model may be used: --licence and --commercial."
        )
    terms = {model.commercial for model in known} if len(known) == len(set(names)) else {"ask"}
    strictest: Commercial = "no" if "no" in terms else "ask" if "ask" in terms else "yes"
    return licence or licences.pop(), commercial or strictest


def _add(models: "ModelStore", new: "NewModel") -> None:
    """Take the merged base into the store."""
    from app.terminal.progress_bar import ProgressBar

    with ProgressBar() as bar:
        models.add(new, bar)


def _answer(out: str, kept: list[str]) -> dict[str, Any]:
    return {"merged": out, "kept": kept}


def _print(text: str, kept: list[str]) -> None:
    """Print where the merged base is, and what only the first one had."""
    if kept:
        text += f"\n{len(kept)} tensors that only the first has are taken from it, such as {kept[0]}."
    print_line(text, soft_wrap=True)
