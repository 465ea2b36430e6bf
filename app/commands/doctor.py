"""`portrait doctor`: what is here, what is missing, and the command that mends it."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands.monitoring.checks import Check, print_checks
from app.commands.monitoring.installation import check_installation
from app.terminal import packages
from app.terminal.errors import Json, cli_output

if TYPE_CHECKING:
    from pipelines.settings import Settings


OPTIONAL = (
    *("trainers", "features", "identities", "controls", "guards", "painters/diffusion", "painters/inpaint"),
    *("attributes", "mattes/modnet", "refiners/swap"),
)
"""Engines that need the diffusion packages, serve measuring alone, or are done without where their models are missing."""
EXTRAS = {
    "server": "the task API and workers",
    "app": "the app",
    "diffusion": "diffusion models",
    "s3": "object storage",
    "tracing": "traces",
}
"""Extras of pyproject.toml that an installation may do without, and what they are for."""
MIN_FREE_BYTES = 2_000_000_000
"""Bytes that ought to be free: a set of 20 photos takes 60 MB, a base model 2 to 7 GB."""


TIMEOUT = 240
"""Seconds for all engines together: the libraries of diffusion take some each on a cold disk."""


def doctor(
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Test the GPU instead: draw and learn on it with tiny networks; five minutes.")
    ] = False,
    device: Annotated[Literal["cuda", "cpu"], typer.Option(help="What --gpu tests.", hidden=True)] = "cuda",
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="With --gpu: how fast each base model could draw by GPUs' data sheets; needs none."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Look at Python, packages, models, engines, GPU and disk, and at the parts of an installation that run."""
    with cli_output(as_json) as output:
        if gpu:
            from app.terminal.device_test import print_plan, run_device_test

            print_plan(output) if plan else run_device_test(device, as_json, output)
            return
        from portrait.errors import OperatorError
        from tasks.settings import home, load_installation

        installation = load_installation()
        settings = installation.flows
        findings = [
            _python(),
            *_packages(),
            _opencv(),
            _profile(settings),
            *_engines(settings),
            *_own_models(settings),
            *_guards(settings),
            *_guards_of_people(settings),
            _gpu(),
            _disk(home()),
            *check_installation(installation.tasks),
        ]
        wrong = [each for each in findings if each.needed and not each.ok]
        document = {"ok": not wrong, "checks": [asdict(each) for each in findings]}
        if not (wrong and as_json):
            output(document, lambda: print_checks(findings))
        if wrong:
            sentence = f"{len(wrong)} of {len(findings)} checks failed: {wrong[0].mend}"
            raise OperatorError("not_ready", sentence, document)


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check("Python", sys.version_info >= (3, 11), version, "Python 3.11 or newer is needed.")


def _packages() -> Iterator[Check]:
    """The packages of the base installation and of the extras."""
    try:
        missing = packages.missing()
    except importlib.metadata.PackageNotFoundError:
        yield Check("Packages", False, "portrait itself is not installed", "Run `make install`.")
        return
    # onnxruntime-gpu fills the same folder as onnxruntime and takes its place on machines with a GPU.
    if packages.version("onnxruntime-gpu") and "onnxruntime" in missing:
        missing.remove("onnxruntime")
    found = f"missing: {', '.join(missing)}" if missing else "all installed"
    yield Check("Packages", not missing, found, "Run `make install`." if missing else "")
    for extra, purpose in EXTRAS.items():
        lacking = packages.missing(extra)
        found = f"missing: {', '.join(lacking)}" if lacking else "all installed"
        yield Check(f"Packages for {purpose}", not lacking, found, f"Run: {packages.install_command(extra)}", False)


def _opencv() -> Check:
    """Both wheels of OpenCV own the folder cv2; at two versions the last one installed breaks the other."""
    wheels = {name: packages.version(name) for name in ("opencv-python", "opencv-contrib-python")}
    found = ", ".join(f"{name} {version or 'missing'}" for name, version in wheels.items())
    alike = len(set(wheels.values())) == 1
    return Check("OpenCV", alike, found, "Run `make install`: both wheels must have one version.")


def _profile(settings: "Settings") -> Check:
    from pipelines.settings import PROFILES

    return Check("Profile", True, PROFILES[settings.profile])


def _engines(settings: "Settings") -> Iterator[Check]:
    """Every engine there is, asked in another process; those that the settings name are needed."""
    from pipelines.engines import FOLDERS, engine_names

    left = [f"{folder}/{name}" for folder in FOLDERS for name in engine_names(folder)]
    while left:
        answered, last = _query_engines(left)
        for engine, needs in zip(left, answered, strict=False):
            found = "not ready" if needs else "ready"
            yield Check(f"Engine {engine}", not needs, found, " ".join(needs), _needed(engine, settings))
        left = left[len(answered) :]
        if left:
            crashed = left.pop(0)
            mend = "Run `make install` again."
            yield Check(f"Engine {crashed}", False, f"crashed: {last}", mend, _needed(crashed, settings))


def _own_models(settings: "Settings") -> Iterator[Check]:
    """Models that were added here: whether each is whole and may be used; styles say which they need."""
    from pipelines.model_store.store import ModelStore
    from portrait.errors import OperatorError

    models = ModelStore(settings.models)
    try:
        own = [each.model for each in models.list() if each.model.own]
    except OperatorError as error:
        yield Check("Models", False, "cannot be read", error.message)
        return
    for model in own:
        lacks = models.missing(model.name)
        found = f"not ready, {model.kind}" if lacks else f"{model.kind} {model.family}".strip()
        yield Check(f"Model {model.name}", not lacks, found, " ".join(lacks), False)


def _guards(settings: "Settings") -> Iterator[Check]:
    """Which guards are real here: the one of pictures is asked about one, of the safety checker its files are looked for."""
    from pipelines import build
    from pipelines.model_store.store import ModelStore
    from portrait.errors import OperatorError

    try:
        with build.open_engines(settings) as engines:
            fault = engines.picture_guard().fault()
    except OperatorError as error:  # a name in the settings that no engine has
        yield Check("Guard of pictures", False, "not here", error.message)
        return
    follows = "no picture is taken or delivered" if settings.guards_closed else "pictures pass unjudged"
    found = f"none: {follows}" if fault else f"{settings.guards.pictures}, from {settings.guards.threshold:g} on"
    yield Check("Guard of pictures", not fault, found, fault, settings.guards_closed)
    checker, needed = ModelStore(settings.models).missing("safety_checker"), settings.draw.guard == "always"
    if settings.draw.guard == "off":
        checker = ["It is off (draw.guard)."]
    found = "none: drawings pass it unseen" if checker else "safety_checker"
    yield Check("Guard of drawings", not checker, found, " ".join(checker), needed)


def _guards_of_people(settings: "Settings") -> Iterator[Check]:
    """Whether words are looked at, and parents or guardians asked; faces that are never drawn are those of the ledger."""
    from pipelines.engines import status
    from pipelines.guards import words
    from pipelines.model_store.store import ModelStore
    from portrait.errors import OperatorError

    guards, name = settings.guards, settings.engines.attributes
    try:
        found = f"the lists that come with it, and {len(words.names(guards))} names" if guards.words else "off"
        yield Check("Guard of words", guards.words, found, "" if guards.words else "It is off (guards.words).", False)
    except OperatorError as error:
        yield Check("Guard of words", False, "not here", error.message)
    missing = (
        status("attributes", name, settings, ModelStore(settings.models)) if name else ["engines.attributes is empty."]
    )
    missing = missing if guards.age else ["It is off (guards.age)."]
    follows = "a guardian must agree for everybody" if guards.age and settings.guards_closed else "nobody is asked"
    found = f"none: {follows}" if missing else name
    yield Check("Guard of ages", not missing, found, " ".join(missing), guards.age and settings.guards_closed)


def _needed(engine: str, settings: "Settings") -> bool:
    """Painters are not chosen by the settings: the style says which it needs, so each of them is."""
    folder, name = engine.split("/")
    chosen = getattr(settings.engines, folder, None)
    return chosen in (name, None) and not {folder, engine} & set(OPTIONAL)


def _query_engines(engines: list[str]) -> tuple[list[list[str]], str]:
    """What engines need, as far as the other process came, and its last words."""
    command = [sys.executable, "-m", "app.terminal.engine_status", *engines]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)  # noqa: S603 -- our own module
    except subprocess.TimeoutExpired as error:
        out = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        return _parse_lists(out), f"no answer in {TIMEOUT} seconds"
    return _parse_lists(answer.stdout), (answer.stderr.strip().splitlines() or ["no message"])[-1]


def _parse_lists(text: str) -> list[list[str]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("[") and line.endswith("]")]


def _gpu() -> Check:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Check("GPU", False, "none", "The embedded engines need none; diffusion is slow without.", False)
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 -- the path is nvidia-smi's
    names = "; ".join(answer.stdout.strip().splitlines()) or "the driver does not answer"
    return Check("GPU", answer.returncode == 0, names, "Check the NVIDIA driver.", False)


def _disk(folder: Path) -> Check:
    """Free space where everything is kept, and whether it may be written."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / 1e9:.0f} GB free at {there}"
    if not os.access(there, os.W_OK | os.X_OK):
        mend = "Set PORTRAIT_HOME to a folder that you may write to."
        return Check("Disk", False, f"{there} cannot be written", mend)
    return Check("Disk", free >= MIN_FREE_BYTES, found, "Free some space, or set PORTRAIT_HOME to another disk.")
