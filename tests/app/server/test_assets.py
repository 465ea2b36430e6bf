"""Scripts and fonts of the pages: compressed, kept by browsers, and only those that are needed."""

import gzip
import subprocess
import sys
from pathlib import Path

import brotli
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.server import assets, icons, start_page
from app.server.headers import security_headers
from tests.app.pages import HTML

SCRIPT = "/static/js/index.1a2b.js"
FIRST_RUN = """
import gc, logging, sys
import streamlit as st
from app.server import web

logging.disable(logging.CRITICAL)
web.prepare()
before = set(sys.modules)
assert "app.pages" in before
st.title("A page")
st.html("<p>and a button</p>")
st.button("Go on", icon=":material/add:")
print(gc.get_freeze_count(), *{name.partition(".")[0] for name in set(sys.modules) - before})
print(*{"pandas", "pyarrow", "numpy", "cv2", "PIL", "fontTools"} & set(sys.modules))
"""
"""Prints how many objects no collection looks at, and the libraries that elements of a page import when the server is ready;
then those of the large ones that are there."""


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "index.1a2b.js").write_text("export const much = 1;\n" * 1000)
    (tmp_path / "js" / "small.js").write_text("1")

    async def page(request: Request) -> FileResponse | PlainTextResponse:
        if request.url.path.startswith("/sign-in"):
            return PlainTextResponse("sign in", media_type="text/html")
        return FileResponse(start_page.INDEX)

    app = Starlette(
        routes=[Route("/{rest:path}", page)], middleware=[Middleware(assets.AssetMiddleware, folder=tmp_path)]
    )
    return TestClient(app)


def test_what_pages_need_is_there_before_visits_and_left_to_no_collection() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_RUN], capture_output=True, text=True, check=True)
    (frozen, *imported), large = (line.split() for line in done.stdout.splitlines())
    assert int(frozen) > 50_000
    assert set(imported) <= {"streamlit"}
    assert large == [], "each takes tens of megabytes: they come with the first chart or edit"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate, br, zstd", "br"), ("gzip", "gzip"), ("br;q=0, gzip;q=0.5", "gzip"), ("identity", ""), ("", "")],
)
def test_a_script_comes_in_the_best_encoding_and_is_kept_for_good(
    client: TestClient, accepted: str, encoding: str
) -> None:
    with client.stream("GET", SCRIPT, headers={"accept-encoding": accepted}) as response:
        raw = b"".join(response.iter_raw())
    assert response.headers.get("content-encoding", "") == encoding
    assert response.headers["cache-control"] == "public, immutable, max-age=31536000"
    assert response.headers["vary"] == "Accept-Encoding"
    assert int(response.headers["content-length"]) == len(raw)
    plain = {"br": brotli.decompress, "gzip": gzip.decompress, "": bytes}[encoding](raw)
    assert plain == b"export const much = 1;\n" * 1000
    assert not encoding or len(raw) < 1000


def test_small_files_and_everything_else_go_as_they_are(client: TestClient) -> None:
    assert "content-encoding" not in client.get("/static/js/small.js").headers
    assert client.get("/sign-in", headers=HTML).text == "sign in"
    assert client.get("/static/../start_page.py").status_code == 200, "what is no file there is the app's"
    assert client.head(SCRIPT).content == b""


@pytest.mark.parametrize(
    ("cookie", "browser", "code"), [("", "zh-CN,en", "zh-Hans-CN"), ("en", "zh-CN", "en-GB"), ("", "fr", "en-GB")]
)
def test_the_page_is_in_the_visitors_language(client: TestClient, cookie: str, browser: str, code: str) -> None:
    client.cookies.set("portrait_language", cookie)
    response = client.get("/photos", headers={**HTML, "accept-language": browser})
    assert f'<html lang="{code}">' in response.text
    assert "Streamlit</title>" not in response.text
    assert "Cookie" in response.headers["vary"]
    assert response.headers["content-encoding"] == "br"


def test_the_page_names_its_server_and_its_scripts_may_run() -> None:
    page = start_page.start_page("en").decode()
    assert start_page.BASE_SCRIPT in page
    assert "HOST_CONFIG" in page, "its script need not ask for it"
    assert page.index('<div id="root">') < page.index("<style>") < page.index(".p-menu {"), "before any script has run"
    assert page.count('rel="modulepreload"') > start_page.original_page().count(b'rel="modulepreload"')
    assert "service-desc" not in page
    assert len(security_headers()["Content-Security-Policy"]) < 2000


def test_the_font_has_every_icon_of_the_app_and_little_else(tmp_path: Path) -> None:
    font = icons.find_font()
    assert font is not None
    used, known = icons.used_icons(), icons.icon_names(font)
    own = {name for name in used if any(f"material/{name}:" in path.read_text() for path in icons.app_sources())}
    assert len(own) > 30
    assert own - known == set()
    cut = tmp_path / "cut.woff2"
    cut.write_bytes(icons.cut_font(font, used))
    assert icons.icon_names(cut) >= used & known
    assert cut.stat().st_size < 40_000 < font.stat().st_size
