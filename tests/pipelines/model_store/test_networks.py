"""Models by way of proxies, mirrors and caches, as people's networks have them; everything runs on this machine."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from pipelines.model_store.download import Archive, Source, SourceKind
from pipelines.model_store.manifest import Manifest, Model, ModelFile
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings
from portrait.errors import OperatorError
from tests.model_server import COMMIT, Server
from tests.proxies import Proxy, proxying

BYTES = bytes(range(256)) * 40
VARIABLES = [name for each in ("http", "https", "all", "no") for name in (f"{each}_proxy", f"{each.upper()}_PROXY")]
SETTINGS = [("HTTP_PROXY", "http", "http"), ("ALL_PROXY", "socks5", "socks5"), ("ALL_PROXY", "socks5h", "socks5")]
"""The variable, how the proxy's address begins, and as what it is asked."""


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with proxying() as running:
        yield running
    huggingface_hub.close_session()


@pytest.fixture(autouse=True)
def fresh_hub() -> None:
    """The hub's library reads proxies when it opens its connections."""
    huggingface_hub.close_session()


def models(folder: Path, source: Source, archives: dict[str, Archive] | None = None, **settings: Any) -> ModelStore:
    file = ModelFile("net.bin", (source,))
    manifest = Manifest({"net": Model("net", "test", "MIT", "yes", (file,))}, archives or {})
    return ModelStore(ModelStoreSettings(folder=folder, **settings), manifest)


def failure(store: ModelStore) -> OperatorError:
    with pytest.raises(OperatorError) as caught:
        store.pull(["net"])
    return caught.value


@pytest.mark.parametrize(("variable", "scheme", "asked_as"), SETTINGS)
def test_addresses_and_hubs_are_asked_through_the_proxy_of_the_environment(
    variable: str,
    scheme: str,
    asked_as: str,
    server: Server,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, proxy.url(scheme))
    server.files["/net.bin"] = BYTES
    models(tmp_path / "url", Source("url", f"{server.url}/net.bin")).pull(["net"])
    host = server.url.removeprefix("http://")
    assert proxy.asked == [f"{asked_as} {host}"]
    server.publish("maker/net", {"net.bin": BYTES})
    by_hub = models(tmp_path / "hub", Source("hub", "maker/net", "net.bin"), hub=server.url)
    by_hub.pull(["net"])
    assert by_hub.file("net", "net.bin").read_bytes() == BYTES
    assert len(proxy.asked) > 2
    assert set(proxy.asked) == {f"{asked_as} {host}"}


@pytest.mark.parametrize(("variable", "scheme", "asked_as"), SETTINGS[:2])
def test_the_package_index_of_pip_is_asked_through_the_proxy(
    variable: str,
    scheme: str,
    asked_as: str,
    server: Server,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheel = tmp_path / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("carrier/net.bin", BYTES)
        packed.writestr("carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        packed.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    server.files["/simple/carrier/"] = f'<!DOCTYPE html><a href="/{wheel.name}">{wheel.name}</a>'.encode()
    server.headers["/simple/carrier/"] = {"Content-Type": "text/html"}
    server.files[f"/{wheel.name}"] = wheel.read_bytes()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    monkeypatch.setenv(variable, proxy.url(scheme))
    archive = Archive("carrier==1.0", "wheel")
    store = models(tmp_path / "store", Source("archive", "carrier", "carrier/net.bin"), {"carrier": archive})
    store.pull(["net"])
    assert store.file("net", "net.bin").read_bytes() == BYTES
    assert set(proxy.asked) == {f"{asked_as} {server.url.removeprefix('http://')}"}


def test_hosts_of_no_proxy_are_asked_without(
    server: Server, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy.url())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.files["/net.bin"] = BYTES
    models(tmp_path, Source("url", f"{server.url}/net.bin")).pull(["net"])
    assert proxy.asked == []


@pytest.mark.parametrize("kind", ["url", "hub"])
def test_a_dead_proxy_is_named_by_its_setting_and_not_by_its_password(
    kind: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://ann:secret@127.0.0.1:9")
    source = Source("url", "http://127.0.0.1:8/net.bin") if kind == "url" else Source("hub", "maker/net", "net.bin")
    error = failure(models(tmp_path, source, hub="http://127.0.0.1:8"))
    assert error.code == "no_network"
    assert "through the proxy of HTTP_PROXY" in error.message
    assert "secret" not in error.message


@pytest.mark.parametrize("address", ["socks://127.0.0.1:1080", "socks4://127.0.0.1:1080", "http://[::bad", "ftp://p"])
@pytest.mark.parametrize("kind", ["url", "hub", "archive"])
def test_an_address_that_is_no_proxy_is_told(
    address: str, kind: SourceKind, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", address)
    places = {"url": "http://127.0.0.1:8/net.bin", "hub": "maker/net", "archive": "carrier"}
    archives = {"carrier": Archive("carrier==1.0", "wheel")}
    error = failure(models(tmp_path, Source(kind, places[kind], "net.bin"), archives, hub="http://127.0.0.1:8"))
    assert error.code == "no_network"
    assert (
        "ALL_PROXY is no address of a proxy; they begin with http://, https://, socks5://, socks5h://" in error.message
    )


def test_what_leads_out_is_named_where_nothing_answers(proxy: Proxy, tmp_path: Path) -> None:
    by_hub = failure(models(tmp_path, Source("hub", "maker/net", "net.bin"), hub="http://127.0.0.1:8"))
    assert "HF_ENDPOINT or models.hub names a mirror, HTTPS_PROXY a proxy" in by_hub.message
    by_url = failure(models(tmp_path, Source("url", "http://127.0.0.1:8/net.bin")))
    assert "HTTPS_PROXY names a proxy" in by_url.message


def cache_of(folder: Path, content: bytes, blob: str) -> Path:
    """A cache of Hugging Face's programs that holds one file at one commit, which the main branch is at."""
    repository = folder / "models--maker--net"
    for part, name, text in (("blobs", blob, content), ("refs", "main", COMMIT.encode())):
        (repository / part).mkdir(parents=True)
        (repository / part / name).write_bytes(text)
    place = repository / "snapshots" / COMMIT / "net.bin"
    place.parent.mkdir(parents=True)
    place.symlink_to(repository / "blobs" / blob)
    return folder


def test_files_of_a_hub_cache_are_copied_and_broken_ones_fetched(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    server.publish("maker/net", {"net.bin": BYTES})
    source = Source("hub", "maker/net", "net.bin")
    whole = cache_of(tmp_path / "whole", b"from the cache", "f" * 40)
    store = models(tmp_path / "one", source, hub=server.url, hub_cache=whole)
    store.pull(["net"])
    assert store.file("net", "net.bin").read_bytes() == b"from the cache"
    assert not store.file("net", "net.bin").is_symlink()
    assert server.requests == []
    assert COMMIT in (tmp_path / "one" / "lock.json").read_text()
    broken = cache_of(tmp_path / "broken", b"half a fi", "e" * 64)
    other = models(tmp_path / "two", source, hub=server.url, hub_cache=broken)
    other.pull(["net"])
    assert other.file("net", "net.bin").read_bytes() == BYTES
    pinned = Source("hub", "maker/net", "net.bin", revision="main2")
    assert failure(models(tmp_path / "three", pinned, hub=server.url, hub_cache=whole)).code == "download_failed"
