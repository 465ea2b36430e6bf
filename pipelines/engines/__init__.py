"""Engines by name: the folder names the port, the file names the model; one file, one engine.

An engine is a class that fits a port of `portrait.ports`, `make(settings, models, engines)` that builds it, and `MODELS`, the
models it needs, if any; where those alone do not say what is missing, `status(settings, models)` does. Only the engines that
are asked for are imported, so only their libraries load.
"""

import importlib
import logging
import pkgutil
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pipelines.guards.pictures import PictureGuard, open_guard
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import OperatorError
from portrait.ports import (
    AnyRefiner,
    AttributeEstimator,
    Classifier,
    ControlPreprocessor,
    FaceFinder,
    FaceSwapper,
    Guard,
    IdentityAdapter,
    ImageTextEncoder,
    Matter,
    Painter,
    Parser,
    Restorer,
    Trainer,
    Upscaler,
    VersionedMatter,
)

FOLDERS = (
    *(
        "attributes",
        "controls",
        "faces",
        "faceswap",
        "features",
        "guards",
        "identities",
        "mattes",
        "painters",
        "parsers",
    ),
    *("refiners", "restorers", "trainers", "upscalers"),
)


_log = logging.getLogger("portrait.models")  # a worker counts what it says
FORMER_MATTE = "selfie 1"
"""What cut people out in version 0.1.0, whose recipes do not say so."""


class Engines:
    """Loads engines by name, lazily, each once; the only way for one engine to get another.

    Used as a context: on leaving it, engines that hold a native library's handles close them.
    """

    def __init__(self, settings: Settings, models: ModelStore) -> None:
        self._settings = settings
        self._models = models
        self._loaded: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> "Engines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._loaded:
            _, engine = self._loaded.popitem()
            if hasattr(engine, "close"):
                engine.close()

    def unload_idle(self) -> None:
        """Have engines unload what they have not used for long; they load it again when it is needed."""
        for engine in list(self._loaded.values()):
            if hasattr(engine, "unload_idle"):
                engine.unload_idle()

    def forget(self) -> None:
        """Have engines drop what they keep of people from one request to the next."""
        for engine in list(self._loaded.values()):
            if hasattr(engine, "forget"):
                engine.forget()

    def finder(self) -> FaceFinder:
        """The face finder that the settings name."""
        return self._get("faces", self._settings.engines.faces)

    def attributes(self) -> AttributeEstimator | None:
        """The estimator of age and sex that the settings name; None where they name none or its models are missing."""
        name = self._settings.engines.attributes
        return self._get_if_here("attributes", name) if name else None

    def faceswapper(self, drawn: Mapping[str, object] | None = None) -> FaceSwapper | None:
        """The face swapper that the settings name, or the one that a portrait of the facts `drawn` was made with.

        None where faces are warped: the settings name none, or the facts tell of none. Raises `OperatorError`
        (`model_differs`) where the recipe's had other models, `missing_model`, `licence_refused`.
        """
        recorded: Any = None if drawn is None else drawn.get("faceswap", {})
        name = self._settings.engines.faceswap if recorded is None else str(recorded.get("engine", ""))
        if not name:
            return None
        swapper = self.faceswapper_named(name)
        if recorded is not None and recorded != dict(swapper.facts):
            raise OperatorError(
                "model_differs",
                f"The models of {name} are others than those this portrait was drawn with: put those back. Drawing again with "
                "another model gives another portrait.",
            )
        return swapper

    def faceswapper_named(self, name: str = "") -> FaceSwapper:
        """A face swapper by name; without one, that of the settings, or inswapper."""
        return self._get("faceswap", name or self._settings.engines.faceswap or "inswapper")

    def matter(self, drawn: Mapping[str, object] | None = None) -> Matter:
        """The matter that the settings name, or the one that a portrait of the facts `drawn` was made with.

        Facts without an entry are those of the segmenter. Raises `OperatorError` (`model_differs`) where this program has
        another version of that engine, `unknown_engine`, `missing_model`.
        """
        if drawn is None:
            return self.matter_named(matte_engine(self._settings, self._models))
        wanted = str(drawn.get("matte", FORMER_MATTE))
        matter = self.matter_named(wanted.partition(" ")[0])
        if isinstance(matter, VersionedMatter):
            matter = matter.as_version(wanted) or matter
        if matter.version != wanted:
            raise OperatorError(
                "model_differs",
                f"This portrait was cut out by {wanted}; here {matter.version} would do it, with other edges. "
                "Draw it anew with `portrait make`, or install the version of this program that drew it.",
            )
        return matter

    def matter_named(self, name: str) -> Matter:
        """A matter by name, for one that builds on another."""
        return self._get("mattes", name)

    def restorer(self, name: str = "") -> Restorer:
        """A restorer by name, or the one that the settings name."""
        return self._get("restorers", name or self._settings.engines.restorers)

    def parser(self) -> Parser:
        """The parser that the settings name."""
        return self._get("parsers", self._settings.engines.parsers)

    def upscaler(self) -> Upscaler:
        """The upscaler that the settings name."""
        return self._get("upscalers", self._settings.engines.upscalers)

    def detailer(self) -> Upscaler | None:
        """The upscaler that gives small faces of selfies their detail; None where its model is missing."""
        return self._get_if_here("upscalers", "realesrgan_x4plus")

    def refiner(self, name: str) -> AnyRefiner:
        """A refiner by name; style and request say which."""
        return self._get("refiners", name)

    def image_classifier(self) -> Classifier:
        """The image classifier for FID, KID and inception score."""
        return self._get("features", "inception")

    def image_text_encoder(self) -> ImageTextEncoder:
        """The encoder of pictures and texts (CLIP)."""
        return self._get("features", "clip")

    def painter(self, name: str) -> Painter:
        """A painter by name; the mode of a request says which (see `pipelines.build.PAINTERS`)."""
        return self._get("painters", name)

    def trainer(self) -> Trainer:
        """The trainer that the settings name."""
        return self._get("trainers", self._settings.engines.trainers)

    def identity_adapter(self, name: str) -> IdentityAdapter:
        """An identity adapter by name; the request says which."""
        return self._get("identities", name)

    def guard(self, name: str) -> Guard:
        """A guard by name."""
        return self._get("guards", name)

    def picture_guard(self) -> PictureGuard:
        """What looks at pictures that come in, are drawn or delivered, with what follows where its model is missing."""
        return open_guard(self._settings, self.guard)

    def control(self, name: str) -> ControlPreprocessor:
        """A control by name; the request says which."""
        return self._get("controls", name)

    def lazy_embedder(self, space: str) -> Callable[[], FaceFinder]:
        """A call that loads the face finder of an embedding space other than the usual finder's, once, and returns it."""

        def load() -> FaceFinder:
            key = ("faces", f"scrfd {space}")
            if key not in self._loaded:
                self._loaded[key] = engine_module("faces", "scrfd").Scrfd(self._models, space)
            return self._loaded[key]

        return load

    def _get_if_here(self, folder: str, name: str) -> Any | None:
        try:
            return self._get(folder, name)
        except OperatorError as error:
            if error.code not in ("missing_model", "licence_refused"):
                raise
            return None

    def _get(self, folder: str, name: str) -> Any:
        if (folder, name) not in self._loaded:
            began, model = time.monotonic(), f"{folder}/{name}"
            self._loaded[folder, name] = engine_module(folder, name).make(self._settings, self._models, self)
            seconds = round(time.monotonic() - began, 3)
            told = {"event": "loaded", "model": model, "seconds": seconds}
            _log.info("%s was loaded in %.1f s", model, seconds, extra=told)
        return self._loaded[folder, name]


def engine_names(folder: str) -> list[str]:
    """Return the names of the engines in a folder."""
    here = Path(__file__).parent / folder
    return sorted(module.name for module in pkgutil.iter_modules([str(here)]))


def engine_module(folder: str, name: str) -> Any:
    """Import the module of an engine; raises `OperatorError` (`unknown_engine`, `missing_library`)."""
    if not re.fullmatch(r"[a-z0-9_]+", name) or name not in engine_names(folder):
        known = ", ".join(engine_names(folder))
        raise OperatorError("unknown_engine", f"There is no engine {name!r} in {folder}. Choose one of: {known}.")
    return load_module(f"pipelines.engines.{folder}.{name}", f"The engine {folder}/{name}")


def load_module(module: str, subject: str) -> Any:
    """Import a module that needs model libraries; raises `OperatorError` (`missing_library`) about `subject`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OperatorError(
            "missing_library",
            f"{subject} cannot be loaded ({error}). "
            "Install what it needs with `make install`, then run `portrait doctor`.",
        ) from error


def matte_engine(settings: Settings, models: ModelStore) -> str:
    """Return the name of the engine that makes mattes: the segmenter stands in where MODNet, the default, is missing."""
    name = settings.engines.mattes
    return "selfie" if name == "modnet" and models.missing("modnet") else name


def matte_facts(matter: Matter) -> dict[str, object]:
    """Return what a recipe says of the matter that cut a person out: nothing for what version 0.1.0 had."""
    return {} if matter.version == FORMER_MATTE else {"matte": matter.version}


def status(folder: str, name: str, settings: Settings, models: ModelStore) -> list[str]:
    """Return what an engine still needs, one sentence each with the command that brings it; empty when it is ready."""
    try:
        module = engine_module(folder, name)
        if hasattr(module, "status"):
            return module.status(settings, models)
        return [line for model in getattr(module, "MODELS", ()) for line in models.missing(model)]
    except OperatorError as error:
        return [error.message]
