"""What `deploy/` holds can be used: files that their own tools take, commands, settings and services that are there."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.settings import load_installation
from tests.tasks.servers import need
from tests.test_docs import unknown

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = (DEPLOY / "compose.yaml").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
SECONDS = {"2m": 120, "40s": 40}
UNITS = {path.name: path.read_text() for path in sorted(DEPLOY.glob("*.service"))}


def filled_in(text: str) -> str:
    """A compose file with its variables replaced: by their defaults, or by what somebody may have filled in."""
    return re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", lambda found: found[3] if found[2] == "-" else "x", text)


def composed(text: str = COMPOSE) -> dict[str, Any]:
    """A compose file as compose reads it; raises `ValueError` for what the specification does not know."""
    import compose_spec  # takes a second, which every process of a run would wait for when it is collected

    document = yaml.safe_load(filled_in(text))
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(document))
    return document


def parts() -> dict[str, dict[str, Any]]:
    """The services that are Portrait's own."""
    return {name: each for name, each in composed()["services"].items() if "portrait:" in each["image"]}


def hadolint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "hadolint"), "--no-color", str(dockerfile)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_dockerfile_has_no_findings() -> None:
    found = hadolint(DEPLOY / "Dockerfile")
    assert (found.returncode, found.stdout) == (0, "")


def test_a_fault_of_a_dockerfile_is_found(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace("ENTRYPOINT [", "ENTRYPOINT sh -c [", 1))
    assert hadolint(tmp_path / "Dockerfile").returncode != 0


def test_what_the_dockerfile_copies_and_installs_is_there() -> None:
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for name in line.split()]
    assert len(copied) == 9
    assert [name for name in copied if not (ROOT / name).exists()] == []
    kept = re.findall(r"^!(\S+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.M)
    assert sorted(kept) == sorted(copied), "everything else is kept out of the build"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = {extra for line in re.findall(r'"\.\[([^\]]+)\]"', DOCKERFILE) for extra in line.split(",")}
    assert installed == {"app", "s3", "tracing", "gpu", "diffusion"}
    assert installed <= extras.keys()


def test_an_image_runs_as_nobody_special() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)[1:]
    final = [stage for stage in stages if "ENTRYPOINT" in stage]
    assert [re.findall(r"AS (\w+)", stage[:80])[0] for stage in final] == ["gpu", "cpu"]
    for stage in final:
        assert "USER 10001:10001" in stage.split("ENTRYPOINT")[0]
        assert "HEALTHCHECK" in stage
        assert "--uid 10001" in DOCKERFILE


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("read_only: true", "read_onl: true"),
        ("interval: 60s", "interval: sixty"),
        ("condition: service_healthy", "condition: healthy"),
        ("cap_drop: [ALL]", "cap_drop: ALL"),
        ("internal: true", "internl: true"),
    ],
)
def test_a_fault_of_the_compose_file_is_found(right: str, wrong: str) -> None:
    assert right in COMPOSE
    with pytest.raises(ValueError, match=r".+"):
        composed(COMPOSE.replace(right, wrong, 1))


def test_services_name_only_what_the_compose_file_has() -> None:
    document = composed()
    services = document["services"]
    for name, each in services.items():
        assert set(each.get("depends_on", {})) <= services.keys(), name
        assert set(each.get("networks", [])) <= document["networks"].keys(), name
        assert set(each.get("secrets", [])) <= document["secrets"].keys(), name
        mounts = [mount.split(":")[0] for mount in each.get("volumes", [])]
        assert {mount for mount in mounts if not mount.startswith(".")} <= document["volumes"].keys(), name
        assert all((DEPLOY / mount).exists() for mount in mounts if mount.startswith(".")), name
        assert "no-new-privileges:true" in each["security_opt"], name
    targets = re.findall(r"AS (\w+)$", DOCKERFILE, re.M)
    assert {each["build"]["target"] for each in parts().values()} <= set(targets)


def test_every_part_of_an_installation_is_a_service() -> None:
    commands = [each["command"] for each in parts().values()]
    assert {command[0] for command in commands} == {"api", "app", "keeper", "worker", "db", "models"}
    queues = [command[command.index("--queues") + 1] for command in commands if "--queues" in command]
    assert sorted(queues) == ["cpu", "gpu.train,gpu.generate", "io"]
    services = composed()["services"]
    assert services["gpu-worker"]["profiles"] == ["gpu"]
    assert [name for name, each in services.items() if each.get("restart") == "no"] == ["schema", "models", "bucket"]
    exposed = [name for name, each in services.items() if "ports" in each and not each.get("profiles")]
    assert exposed == ["proxy"], "there is one door"


def test_commands_exist_with_their_options() -> None:
    lines = [f"portrait {' '.join(each['command'])}" for each in parts().values()]
    health = [test for each in parts().values() if (test := each.get("healthcheck", {}).get("test"))]
    lines += [" ".join(test[1:]) for test in health if test[1] == "portrait"]
    lines += [" ".join(["portrait", *json.loads(line)]) for line in re.findall(r"^CMD (.+)$", DOCKERFILE, re.M)]
    lines += re.findall(r"^ExecStart=\S+/bin/(portrait .+)$", "\n".join(UNITS.values()), re.M)
    assert len(lines) > 12
    assert {line: wrong for line in lines if (wrong := unknown(line))} == {}


def test_settings_are_read_as_they_stand(tmp_path: Path) -> None:
    for name, each in parts().items():
        environment = {key: str(value) for key, value in each["environment"].items()} | {"PORTRAIT_HOME": str(tmp_path)}
        tasks = load_installation(environment).tasks
        assert tasks.database.startswith("postgresql://"), name
        assert (tasks.storage.bucket, tasks.metrics.port) == ("portrait", 9100), name
    named = set(re.findall(r"PORTRAIT_[A-Z_]+", DOCKERFILE + "".join(UNITS.values()))) - {"PORTRAIT_HOME"}
    assert named == set(), "the others set nothing but the home"


def test_whoever_fills_in_the_example_has_everything_and_no_secret_stands_in_it() -> None:
    example = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "portrait.env.example").read_text(), re.M))
    needed = set(re.findall(r"\$\{(\w+)(?::\?[^}]*)?\}", COMPOSE))
    assert example.keys() == needed
    assert {name for name, value in example.items() if value} == {"PORTRAIT_SITE", "STORAGE_KEY"}
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/deploy/portrait.env", "/deploy/metrics.key"} <= set(ignored)


def test_proxy_and_prometheus_ask_services_at_their_ports() -> None:
    services = composed()["services"]
    asked = re.findall(r"reverse_proxy (\w+):(\d+)", (DEPLOY / "Caddyfile").read_text())
    assert len(asked) == 2
    for name, port in asked:
        assert port in services[name]["command"]
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    targets = {
        name: str(names["port"]) for each in scraped for names in each["dns_sd_configs"] for name in names["names"]
    }
    metrics = services["keeper"]["environment"]["PORTRAIT_TASKS__METRICS__PORT"]
    assert targets.pop("api") == services["api"]["command"][-1]
    assert targets == dict.fromkeys(("worker", "io", "gpu-worker", "keeper"), metrics)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_the_units(name: str, tmp_path: Path) -> None:
    need("systemd", shutil.which("systemd-analyze") is not None, "apt-get install systemd")
    text = UNITS[name].replace("/opt/portrait/.venv/bin/portrait", str(Path(sys.executable).parent / "portrait"))
    unit = tmp_path / name.replace("@", "@cpu")

    def verified(text: str) -> tuple[int, str]:
        (tmp_path / name).write_text(text)
        if unit.name != name:
            unit.symlink_to(tmp_path / name) if not unit.exists() else None
        found = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
        return found.returncode, found.stderr

    assert verified(text) == (0, "")
    assert "ExecStrat" in verified(text.replace("ExecStart=", "ExecStrat="))[1]


def test_a_worker_is_given_more_time_by_systemd_than_it_takes() -> None:
    unit = UNITS["portrait-worker@.service"]
    grace, timeout = (int(re.findall(rf"{name}[ =](\d+)", unit)[0]) for name in ("--grace", "TimeoutStopSec"))
    assert grace < timeout
    for name, each in parts().items():
        if "--grace" in each["command"]:
            given = int(each["command"][each["command"].index("--grace") + 1])
            assert given < SECONDS[each["stop_grace_period"]], name
