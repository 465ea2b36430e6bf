"""Reads where a model is to come from: a file or folder of this machine, a repository of Hugging Face, an address."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from pipelines.model_store.download import Source, hub_failures
from pipelines.model_store.http_download import SourceFailedError
from pipelines.model_store.manifest import ModelFile, ModelKind
from pipelines.settings import ModelStoreSettings
from portrait.errors import OperatorError

WEIGHTS = ".safetensors"
PICKLED = {".ckpt", ".pt", ".pth", ".bin"}
_HUB = re.compile(r"hub:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?(?::([^:]+))?")
_COMPANIONS = {".json", ".txt", ".model", ".jinja"}
"""What a folder in the layout of diffusers holds beside weights: configurations and vocabularies."""
_INDEX = "model_index.json"
_COMPONENTS = {
    "feature_extractor", "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "transformer", "unet",
    "vae",
}  # fmt: skip
"""Folders of a base that are read; a safety checker and examples are not."""
DENOISERS = ("unet", "transformer")
"""Folders of the network that takes the noise away."""
_PART = re.compile(r"-\d{5}-of-(\d{5})(?=\.)")
"""In the names of the parts of large files of weights: which of how many."""
MAX_FILES = 200
"""Files of one model at most; a base in the layout of diffusers has about twenty."""


def is_remote(given: str) -> bool:
    """Whether a source is fetched by the network, and no path of this machine."""
    return given.startswith(("hub:", "https://", "http://"))


def files_of(name: str, kind: ModelKind, given: str, settings: ModelStoreSettings) -> tuple[ModelFile, ...]:
    """Return the files that a model of that source consists of, without hashes; asks the hub for the list of a repository.

    Raises `OperatorError`: `bad_model_source` where the source names none or several, `no_network`, `gated`,
    `download_failed`.
    """
    if given.startswith("hub:"):
        return _from_hub(kind, given, settings)
    if is_remote(given):
        return (_from_url(name, given),)
    with suppress(RuntimeError):  # the home of a user who is none here, which is told as any file that is not there
        given = str(Path(given).expanduser())
    path = Path(given).absolute()
    if path.is_file():
        return (ModelFile(_weights_name(path.name, name), (Source("file", str(path)),)),)
    if path.is_dir():
        return _from_folder(kind, path)
    raise bad_source(
        f"There is no file or folder {given}. Name one, or hub:ORG/REPO, or an address that begins with https"
    )


def bad_source(why: str) -> OperatorError:
    """The error for a source that does not say which file is meant."""
    return OperatorError("bad_model_source", f"{why}.")


def _from_url(name: str, given: str) -> ModelFile:
    try:
        parts = urlsplit(given)
    except ValueError as error:
        raise bad_source(f"{given} is no address ({error})") from error
    if not parts.hostname or parts.username or parts.password:
        raise bad_source("An address names a host, and neither user nor password")
    return ModelFile(_weights_name(PurePosixPath(unquote(parts.path)).name, name), (Source("url", given),))


def _from_folder(kind: ModelKind, folder: Path) -> tuple[ModelFile, ...]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    chosen = _choose(kind, str(folder), sorted(found))
    return tuple(ModelFile(name, (Source("file", str(folder / name)),)) for name in chosen)


def _from_hub(kind: ModelKind, given: str, settings: ModelStoreSettings) -> tuple[ModelFile, ...]:
    read = _HUB.fullmatch(given)
    if read is None:
        raise bad_source(f"{given} is not written as hub:ORG/REPO, hub:ORG/REPO@REVISION or hub:ORG/REPO:PATH")
    place, revision, path = read[1], read[2] or "", read[3] or ""
    if path and PurePosixPath(path).suffix in {WEIGHTS, *PICKLED}:
        file = PurePosixPath(path)
        return (ModelFile(_weights_name(file.name, file.stem), (Source("hub", place, path, revision),)),)
    names, commit = _list_repository(Source("hub", place, revision=revision), settings)
    prefix = f"{path.strip('/')}/" if path else ""
    inside = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    return tuple(
        ModelFile(name, (Source("hub", place, prefix + name, commit),)) for name in _choose(kind, given, inside)
    )


def _list_repository(source: Source, settings: ModelStoreSettings) -> tuple[list[str], str]:
    """Return the names of a repository's files, and its commit."""
    from huggingface_hub import HfApi

    try:
        with hub_failures(source, settings.hub):
            api = HfApi(endpoint=settings.hub, token=settings.hub_token or None)
            found = api.model_info(source.place, revision=source.revision or None)
    except SourceFailedError as failed:
        raise OperatorError(failed.code, f"{source} {failed.reason}.") from failed
    return sorted(each.rfilename for each in found.siblings or ()), found.sha or source.revision


def _choose(kind: ModelKind, given: str, names: Sequence[str]) -> list[str]:
    """Choose of a folder's files those that a model of a kind consists of; raises `bad_model_source`."""
    visible = [name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts)]
    if kind == "base" and _INDEX in visible:
        return _choose_base(given, visible)
    weights = [name for name in visible if name.endswith(WEIGHTS)]
    here = [name for name in weights if "/" not in name] or weights
    here = _one_precision(here)
    if len(here) != 1:
        raise bad_source(_why_not_one(given, visible, here))
    folder = PurePosixPath(here[0]).parent
    config = (folder / "config.json").as_posix()
    return [here[0], *([config] if config in visible else [])]


def _choose_base(given: str, names: Sequence[str]) -> list[str]:
    in_folders = [name for name in names if name.partition("/")[0] in _COMPONENTS and name.count("/") == 1]
    files = [name for name in in_folders if PurePosixPath(name).suffix in _COMPANIONS and ".index." not in name]
    weights = [name for name in in_folders if name.endswith(WEIGHTS) and not name.endswith(".non_ema.safetensors")]
    by_folder: dict[str, list[str]] = {}
    for name in weights:
        by_folder.setdefault(name.partition("/")[0], []).append(name)
    if not by_folder.keys() & {*DENOISERS}:
        wanted = " or ".join(f"{folder}/*.safetensors" for folder in DENOISERS)
        raise bad_source(f"{given} has no {wanted}: safetensors alone is read from outside")
    chosen: list[str] = []
    for folder in by_folder.values():
        weights = _one_precision(folder)
        in_parts = len(weights) > 1 or _PART.search(weights[0])
        if in_parts and not _are_all_parts(weights):
            several = ", ".join(weights[:6])
            raise bad_source(f"{given} has files of weights in a folder that are not all the parts of one ({several})")
        # Without the index the parts are not found.
        chosen += [*([_PART.sub("", weights[0]) + ".index.json"] if in_parts else []), *weights]
    missing = [name for name in chosen if name not in names]
    if missing:
        raise bad_source(f"{given} has weights in parts without {missing[0]}")
    return [_INDEX, *sorted(files), *sorted(chosen)][:MAX_FILES]


def _are_all_parts(names: Sequence[str]) -> bool:
    """Whether files are all the parts of one."""
    parts = [_PART.search(name) for name in names]
    return len({_PART.sub("", name) for name in names}) == 1 and all(
        part and int(part[1]) == len(names) for part in parts
    )


def _one_precision(names: Sequence[str]) -> list[str]:
    """Of files that are there in half and full precision, those in half: bases are drawn with in it."""
    half = [name for name in names if name.endswith(f".fp16{WEIGHTS}")]
    return [name for name in names if name in half or name.replace(WEIGHTS, f".fp16{WEIGHTS}") not in half]


def _why_not_one(given: str, names: Sequence[str], weights: Sequence[str]) -> str:
    if weights:
        return f"{given} has {len(weights)} files of weights: name one of {', '.join(weights[:8])}"
    pickled = [name for name in names if PurePosixPath(name).suffix in PICKLED]
    if pickled:
        return f"{given} has pickled files alone ({', '.join(pickled[:4])}): name one, and add it with --pickled"
    return f"{given} has no .safetensors file"


def _weights_name(published: str, name: str) -> str:
    """The name that a file has in the store: as published, with the ending of what it will be there."""
    path = PurePosixPath(published)
    stem = path.stem if path.suffix in {WEIGHTS, *PICKLED} else name
    stem = re.sub(r"[^\w.() -]", "_", stem).strip(". ") or name
    return stem + WEIGHTS
