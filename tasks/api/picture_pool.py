"""Decodes pictures in two processes, each request in its turn among callers; who finds too many before them is refused.

One process takes every picture that needs little memory, the other one at a time of those that need much: thumbnails of phones'
photos do not wait for somebody's largest. Threads of the API never wait here: callers get a `Future`.
"""

import json
import logging
import os
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tasks
from pipelines.guards.pictures import Watch
from pipelines.marks.trust import Trust
from pipelines.pictures import MAX_REDUCED_MEMORY
from portrait.errors import OperatorError, UserError
from portrait.photos.reasons import TIPS

LIGHT_BYTES = 36_000_000
"""What decoding may take in the process for small ones: every JPEG of one scan, PNG of 36 megapixels, WebP and HEIC of 7."""
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHOME")
"""Variables of the environment that a decoder gets: it has no use for passwords and keys."""
_log = logging.getLogger("portrait.api")


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How much may wait, and for how long."""

    each: int = 32
    """Requests of one caller that wait or are decoded."""
    total: int = 256
    """Requests of all callers."""
    seconds: float = 60
    """Time for one picture on a machine that does other things; of computing it has a third."""
    idle: float = 60
    """Seconds after which a process with nothing to do ends."""
    retry_after: int = 2


def busy_error(retry_after: int = 2) -> UserError:
    """The error of a request that finds too many before it."""
    return UserError("busy", "There is too much to do at present. Try again.", {"retry_after": retry_after})


@dataclass(frozen=True, slots=True)
class Scene:
    """A studio style into which a person's cut-out is painted; see `portrait.studio.preview.Scene`."""

    backdrop: str
    compositions: tuple[str, ...] = ()
    retouch: float = 0.4
    picture: str = ""
    """Path of the picture that is the backdrop; empty for a painted one."""
    blur: float = 0.0
    watch: Watch | None = None
    """The guard that looks at what was painted."""


@dataclass(frozen=True, slots=True)
class _Order:
    path: Path
    side: int
    owner: str
    scene: Scene | None = None
    format: str = ""
    trust: Trust | None = None
    watch: Watch | None = None
    done: "Future[bytes]" = field(default_factory=Future)


class PicturePool:
    """Two lanes of decoding, bounded together; processes start with the first request and end when idle."""

    def __init__(self, limits: PoolLimits | None = None) -> None:
        self.limits = limits or PoolLimits()
        self._lock = threading.Lock()
        self._pending: dict[str, int] = {}
        self._heavy = _Lane("heavy", MAX_REDUCED_MEMORY, self.limits, None)
        self._light = _Lane("light", LIGHT_BYTES, self.limits, self._heavy)

    def submit(
        self, path: Path, side: int, owner: str, scene: Scene | None = None, format: str = ""
    ) -> "Future[bytes]":
        """Ask for a JPEG of at most `side` pixels; raises `UserError` (`busy`) at once where too many wait.

        With a `scene` the file is a cut-out, which is painted into it; with a `format` a delivered portrait, which is written
        in that format with its XMP, yet to be signed, and with `side` 0 as large as it is. The future raises `UserError`
        (`unreadable`, `too_large`, `no_permission`, `busy`; with a scene `not_found`), and where the scene has a guard
        `blocked`, or `OperatorError` (`guard_missing`).
        """
        return self._enter(_Order(path, side, owner, scene, format), self._light)

    def judge(self, path: Path, owner: str, watch: Watch) -> "Future[bytes]":
        """Ask a guard whether a picture may be used: nothing comes back where it may.

        It is asked here and not in the API's own process: no upload is decoded there, and the network takes 180 MB while
        somebody uploads. Raises `busy` as `submit`; the future `UserError` (`blocked`, `unreadable`, `too_large`,
        `no_permission`, `busy`), `OperatorError` (`guard_missing`).
        """
        return self._enter(_Order(path, 0, owner, watch=watch), self._light)

    def verify(self, path: Path, owner: str, trust: Trust) -> "Future[bytes]":
        """Ask where a picture comes from: a `pipelines.marks.verify.Provenance` as JSON; raises as `submit`.

        It always goes to the process for what takes much: thumbnails do not wait for it.
        """
        return self._enter(_Order(path, 0, owner, trust=trust), self._heavy)

    def close(self) -> None:
        """End the processes; what waits is refused."""
        self._light.close()
        self._heavy.close()

    def _enter(self, order: _Order, lane: "_Lane") -> "Future[bytes]":
        """Let an order wait in a lane; raises `UserError` (`busy`) where too many wait already."""
        owner = order.owner
        with self._lock:
            count = self._pending.get(owner, 0)
            if count >= self.limits.each or sum(self._pending.values()) >= self.limits.total:
                raise busy_error(self.limits.retry_after)
            self._pending[owner] = count + 1
        order.done.add_done_callback(lambda _: self._leave(owner))
        lane.put(order)
        return order.done

    def _leave(self, owner: str) -> None:
        with self._lock:
            self._pending[owner] -= 1
            if not self._pending[owner]:
                del self._pending[owner]


class _Lane:
    """A process, the thread that feeds it, and who waits: one order of each caller in turn."""

    def __init__(self, name: str, max_bytes: float, limits: PoolLimits, heavier: "_Lane | None") -> None:
        self.name, self.max_bytes, self.limits, self.heavier = name, max_bytes, limits, heavier
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, deque[_Order]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._process: _Process | None = None
        self._closed = False

    def put(self, order: _Order) -> None:
        """Let an order wait for its turn."""
        with self._changed:
            if self._closed:
                order.done.set_exception(busy_error(self.limits.retry_after))
                return
            self._waiting.setdefault(order.owner, deque()).append(order)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"pictures-{self.name}", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Refuse what waits and end the process."""
        with self._changed:
            self._closed = True
            left = [order for queue in self._waiting.values() for order in queue]
            self._waiting.clear()
            thread, process = self._thread, self._process
            self._changed.notify()
        for order in left:
            order.done.set_exception(busy_error(self.limits.retry_after))
        if process is not None:
            process.kill()
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        """Decode until nothing has come for a while."""
        while (order := self._next()) is not None:
            self._answer(order)

    def _next(self) -> _Order | None:
        """The order whose turn it is; None, and no thread and no process any more, where none comes."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._closed, self.limits.idle)
            if not self._waiting:
                if self._process is not None:
                    self._process.close()
                self._process = self._thread = None
                return None
            owner, queue = self._waiting.popitem(last=False)
            order = queue.popleft()
            if queue:
                self._waiting[owner] = queue  # behind everybody else
            return order

    def _answer(self, order: _Order) -> None:
        with self._changed:  # `close` finds every process that was started
            if self._closed:
                order.done.set_exception(busy_error(self.limits.retry_after))
                return
            if self._process is None or not self._process.alive:
                self._process = _Process(self.limits.seconds)
            process = self._process
        asked: dict[str, Any] = {"path": str(order.path), "side": order.side, "bytes": self.max_bytes}
        scene = {} if order.scene is None else {"scene": asdict(order.scene)}
        trust = {} if order.trust is None else {"trust": asdict(order.trust)}
        watch = {} if order.watch is None else {"watch": asdict(order.watch)}
        found = process.ask(asked | scene | trust | watch | ({"format": order.format} if order.format else {}))
        if isinstance(found, bytes):
            order.done.set_result(found)
        elif "heavy" in found and self.heavier is not None:
            self.heavier.put(order)
        elif found.get("code", "busy") == "busy" or self._closed:
            order.done.set_exception(busy_error(self.limits.retry_after))
        else:
            kind = OperatorError if found["code"] == "guard_missing" else UserError
            order.done.set_exception(kind(str(found["code"]), str(found["message"])))


class _Process:
    """One decoding process. Each may be asked by one thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        # One arena and few threads: address space is bounded.
        environment |= {
            "MALLOC_ARENA_MAX": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "VIPS_CONCURRENCY": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tasks.api.picture_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(tasks.__file__).parents[1],
            env=environment,
        )

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, order: dict[str, Any]) -> bytes | dict[str, Any]:
        """The JPEG, or the reason: `unreadable` where the process ends over it, `busy` where it does not end in time."""
        late = threading.Event()
        timer = threading.Timer(self.seconds, lambda: (late.set(), self.kill()))
        timer.daemon = True
        timer.start()
        try:
            return self._exchange(order)
        except (OSError, ValueError):
            self.close()
            # A file's name is somebody's id: the log gets none.
            _log.warning("a picture ended its decoder", extra={"exit": self._process.returncode})
            return {"code": "busy" if late.is_set() else "unreadable", "message": TIPS["unreadable"]}
        finally:
            timer.cancel()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """End it and let go of everything."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()

    def _exchange(self, order: dict[str, Any]) -> bytes | dict[str, Any]:
        given, answers = self._process.stdin, self._process.stdout
        if given is None or answers is None:
            raise OSError("no pipes")
        given.write(json.dumps(order).encode() + b"\n")
        given.flush()
        found = json.loads(answers.readline())
        if "size" not in found:
            return found
        content = answers.read(found["size"])
        if len(content) < found["size"]:
            raise OSError("the decoder ended")
        return content
