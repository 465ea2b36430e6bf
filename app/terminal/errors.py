"""Errors of the command line: one sentence, one exit code, and with --json one document on stdout."""

import errno
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from portrait.errors import Cancelled, EngineError, OperatorError, PortraitError, UserError

EXIT_CODES: dict[type[PortraitError], int] = {UserError: 3, OperatorError: 4, EngineError: 5, Cancelled: 130}
"""0 done, 2 usage (Typer's own), 3 the user's photos, 4 the operator's set-up, 5 an engine failed."""

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]
"""The option that every command with an answer has."""
Output = Callable[[dict[str, Any], Callable[[], None]], None]


@contextmanager
def cli_output(as_json: bool) -> Iterator[Output]:
    """Give a command `output(document, human)`, and turn its errors into one sentence and an exit code.

    With JSON the document is the only thing on stdout, also on failure: then it is the error and its details.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files may hold what no text can; in JSON it is read back as it was.
            stream.reconfigure(errors="backslashreplace")
    try:
        with _silence_native_logs():
            yield lambda document, human: _print_json(document) if as_json else human()
    except PortraitError as error:
        _fail(error, as_json)
    except (KeyboardInterrupt, typer.Abort):  # a question was answered with no
        _fail(Cancelled(), as_json)
    except BrokenPipeError:
        # Whoever reads has enough, as `head` after some lines; Python would write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except MemoryError:
        sentence = "There was not enough memory. Close other programs, or give fewer photos."
        _fail(EngineError("out_of_memory", sentence), as_json)
    except ModuleNotFoundError as error:
        sentence = (
            f"The package {error.name} is not installed. `portrait doctor` says what is missing and how to install it."
        )
        _fail(OperatorError("missing_library", sentence), as_json)
    except OSError as error:
        _fail(_disk_error(error) or EngineError("unexpected", _log_traceback(error)), as_json)
    except Exception as error:
        _fail(EngineError("unexpected", _log_traceback(error)), as_json)


def _disk_error(error: OSError) -> OperatorError | None:
    """What a disk says that is full, or that may not be written; None for whatever else went wrong."""
    place = f"{error.filename} " if error.filename else "A file "
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OperatorError(
            "disk_full", f"The disk is full: {place}could not be written. Free some space and try again."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return OperatorError("no_permission", f"{place}may not be read or written by the user of this process.")
    if error.errno == errno.EROFS:
        sentence = (
            f"{place}lies on a disk that can be read alone. Name another folder: with PORTRAIT_HOME, or with --out."
        )
        return OperatorError("cannot_write", sentence)
    return None


@contextmanager
def _silence_native_logs() -> Iterator[None]:
    """Keep what MediaPipe and LiteRT write to the process's standard error away from the terminal.

    Their C++ logs report delegates and alignment on every start and have no switch. Python's own stderr goes on.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    python = sys.stderr
    sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        sys.stderr.close()
        sys.stderr = python
        os.close(nowhere)
        os.close(saved)


def _log_traceback(error: Exception) -> str:
    """Append the traceback to errors.log; return a sentence that names the file."""
    import traceback

    from tasks.settings import home

    log = home() / "errors.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return f"Something failed that should not have: {type(error).__name__}: {error}."
    return f"Something failed that should not have ({type(error).__name__}). The details are at the end of {log}."


def _fail(error: PortraitError, as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        _print_json({"error": {"code": error.code, "message": error.message}} | dict(error.details))
    else:
        Console(stderr=True, highlight=False, soft_wrap=True).print(error.message, style="red", markup=False)
    code = next(code for branch, code in EXIT_CODES.items() if isinstance(error, branch))
    raise SystemExit(code) from error


def _print_json(document: dict[str, Any]) -> None:
    json.dump(document, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")
