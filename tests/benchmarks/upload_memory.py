"""What the app's memory does while 20 visitors upload 10 photos of 5 MB each, in turn.

`python -m tests.benchmarks.upload_memory`: a real browser against the real app and API; no worker, so that nothing but
uploads is measured. Prints resident megabytes of the app's process: at the start, after each visitor, and 150 s after the
last has closed the page.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import Browser, expect, sync_playwright

from tasks import auth
from tasks.client.client import Client
from tasks.ledger.ledger import open_ledger
from tasks.settings import load_installation
from tests import selfies
from tests.browser.conftest import CHROMIUM, ROOT
from tests.tasks.servers import free_port

VISITORS, PHOTOS, MEGABYTES = 20, 10, 5
AFTER = 150
"""Seconds: longer than Streamlit keeps a visit that has ended."""


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        photos = made(Path(folder) / "photos")
        home = Path(folder) / "home"
        environment = os.environ | {"PORTRAIT_HOME": str(home), "PORTRAIT_TASKS__QUOTAS__PHOTOS_A_DAY": "10000"}
        api, port = free_port(), free_port()
        address = f"http://127.0.0.1:{port}"
        environment["PORTRAIT_API_URL"] = f"http://127.0.0.1:{api}"
        started(stack, [sys.executable, "-m", "app", "api", "--port", str(api)], environment)
        awaited(f"http://127.0.0.1:{api}/v1/health")
        server = started(stack, [sys.executable, "-m", "app.server.web", "--port", str(port)], environment)
        awaited(f"{address}/_stcore/health")
        key = auth.create_key(
            open_ledger(load_installation(environment).tasks.database), "ann", "bench", "person", time.time()
        ).secret
        begin = resident(server.pid)
        sys.stdout.write(f"start: {begin:.0f} MB\n")
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        for number in range(1, VISITORS + 1):
            with Client(environment["PORTRAIT_API_URL"], key) as client:
                client.add_person(f"Visitor {number}", "2026-11", "Ann")
                secret = client.open_session(key=key).secret
            visit(browser, address, secret, photos)
            sys.stdout.write(f"visitor {number}: {resident(server.pid):.0f} MB\n")
            sys.stdout.flush()
        browser.close()
        time.sleep(AFTER)
        end = resident(server.pid)
        sys.stdout.write(f"{AFTER} s after: {end:.0f} MB, {end - begin:+.0f} MB\n")


def visit(browser: Browser, address: str, secret: str, photos: list[Path]) -> None:
    """One visitor, from opening the page to closing it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.add_cookies(
        [{"name": "portrait_key", "value": secret, "url": address, "httpOnly": True, "sameSite": "Lax"}]
    )
    page = context.new_page()
    page.goto(f"{address}/photos")
    page.locator('input[type="file"]').set_input_files(photos)
    expect(page.get_by_text("Not checked yet")).to_have_count(PHOTOS, timeout=120_000)
    context.close()


def made(folder: Path) -> list[Path]:
    """Photos of about `MEGABYTES` each: the astronaut under noise, which JPEG cannot make small."""
    folder.mkdir()
    paths = []
    for number in range(PHOTOS):
        noise = np.random.default_rng(number).integers(-70, 70, (2350, 2350, 3))
        picture = np.clip(selfies.resized(selfies.astronaut(), 2350 / 512).astype(np.int16) + noise, 0, 255)
        path = folder / f"{number}.jpg"
        path.write_bytes(selfies.jpeg(picture.astype(np.uint8), 95))
        paths.append(path)
    sys.stdout.write(f"photos of {sum(path.stat().st_size for path in paths) / len(paths) / 1e6:.1f} MB\n")
    return paths


def started(stack: ExitStack, command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """A server that ends with the measurement."""
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(server.wait)
    stack.callback(server.terminate)
    return server


def awaited(address: str) -> None:
    """Wait until a server answers."""
    for _ in range(300):
        try:
            if httpx.get(address, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise TimeoutError(address)


def resident(pid: int) -> float:
    """Megabytes of memory that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
