"""A server that stands for hubs and publishers of model files: with ranges, redirects, broken and busy answers."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np


@dataclass
class Server:
    """Serves bytes by path, with ranges; breaks the first answers after some bytes when told to."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    delay: float = 0
    busy: list[int] = field(default_factory=list)
    """Statuses of the first answers."""
    busy_headers: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def gets(self, path: str = "") -> list[dict[str, str]]:
        return [
            headers
            for method, path_requested, headers in self.requests
            if method == "GET" and path_requested.startswith(path)
        ]

    def publish(self, repository: str, files: Mapping[str, bytes]) -> None:
        """Serve a repository as the hub does: the list of its files, and each at the branch and at the commit."""
        answer = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
        for revision in ("main", COMMIT):
            self.files[f"/api/models/{repository}/revision/{revision}"] = json.dumps(answer).encode()
            for name, data in files.items():
                self.files[f"/{repository}/resolve/{revision}/{name}"] = data
                self.headers[f"/{repository}/resolve/{revision}/{name}"] = {"X-Repo-Commit": COMMIT}
        self.files[f"/api/models/{repository}"] = json.dumps(answer).encode()


COMMIT = "c" * 40
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "U8": 1}
UNET = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
LORAS = {
    "sd15": {
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": ("F16", (4, 768))
    },
    "sdxl": {"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": ("F32", (4, 2048))},
    "sd2": {
        "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": ("BF16", (4, 1024))
    },
}
"""Headers of LoRAs by family, one naming each."""


def safetensors(tensors: "Mapping[str, tuple[str, tuple[int, ...]]]", fill: int = 0) -> bytes:
    """The bytes of a safetensors file with tensors of these types and shapes; every byte of them is `fill`."""
    header, offset = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = int(np.prod(shape)) * WIDTHS[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    content = json.dumps(header).encode()
    return len(content).to_bytes(8, "little") + content + bytes([fill]) * offset


def write_lora(place: Path, family: str = "sd15") -> Path:
    """A LoRA of a family, with zeros for weights."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(safetensors(LORAS[family]))
    return place


class _ClosingHandler(BaseHTTPRequestHandler):
    """Says that each connection serves one answer: a client that took it for a lasting one would meet it closed."""

    protocol_version = "HTTP/1.1"

    def end_headers(self) -> None:
        self.send_header("Connection", "close")
        super().end_headers()


def _answer_early(handler: BaseHTTPRequestHandler, state: Server) -> None:
    """A busy answer, or a redirect."""
    busy = state.busy.pop(0) if state.busy else 0
    handler.send_response(busy or 302)
    headers = state.busy_headers if busy else {"Location": state.redirects[handler.path]}
    for name, value in ({"Content-Length": "0"} | headers).items():
        handler.send_header(name, value)
    handler.end_headers()


@contextmanager
def serving() -> Iterator[Server]:
    """The server, while it runs."""
    state = Server()

    class Handler(_ClosingHandler):
        def do_GET(self) -> None:
            state.requests.append((self.command, self.path, dict(self.headers)))
            self.close_connection = True
            if state.busy or self.path in state.redirects:
                _answer_early(self, state)
                return
            body, extra = state.files.get(self.path), state.headers.get(self.path, {})
            if body is None or "X-Error-Code" in extra:
                self.send_response(403 if "X-Error-Code" in extra else 404)
                for name, value in ({"Content-Length": "0"} | extra).items():
                    self.send_header(name, value)
                self.end_headers()
                return
            etag = f'"{hashlib.sha256(body).hexdigest()}"'
            requested = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(requested[1]) if requested and self.headers.get("If-Range", etag) == etag else 0
            if start and start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            for name, value in ({"Content-Length": str(len(body) - start), "ETag": etag} | extra).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                time.sleep(state.delay)
                self.wfile.write(body[start : start + state.breaks.pop(0)] if state.breaks else body[start:])

        do_HEAD = do_GET  # noqa: N815 -- http.server's name

        def log_message(self, format: str, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    state.url = f"http://127.0.0.1:{running.server_port}"
    try:
        yield state
    finally:
        running.shutdown()
        running.server_close()
