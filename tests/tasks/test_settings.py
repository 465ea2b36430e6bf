from pathlib import Path

import pytest

from portrait.errors import OperatorError
from tasks import private_files, settings
from tasks.settings import load, load_installation


def test_defaults_lie_under_home(home: Path) -> None:
    settings = load()
    assert settings.models.folder == home / "models"
    assert settings.engines.faces == "blazeface"


def test_file_then_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / "portrait.toml").write_text('[prepare]\nmost = 12\ntrigger = "ohwx"\n[quality]\nsharp = 0.2\n')
    monkeypatch.setenv("PORTRAIT_PREPARE__MOST", "9")
    monkeypatch.setenv("PORTRAIT_MODELS__USE", "commercial")
    settings = load()
    assert (settings.prepare.most, settings.prepare.trigger, settings.quality.sharp) == (9, "ohwx", 0.2)
    assert settings.models.use == "commercial"


@pytest.mark.parametrize(
    ("text", "profile", "use"),
    [
        ("", "research", "any"),
        ('profile = "commercial"\n', "commercial", "commercial"),
        ('[models]\nuse = "commercial"\n', "commercial", "commercial"),
        ('profile = "commercial"\n[models]\nuse = "commercial"\n', "commercial", "commercial"),
        ('profile = "research"\n[models]\nuse = "any"\n', "research", "any"),
        ('[models]\nuse = "any"\n', "research", "any"),
    ],
)
def test_the_profile_and_the_older_name_of_it_say_the_same(home: Path, text: str, profile: str, use: str) -> None:
    home.mkdir()
    (home / "portrait.toml").write_text(text)
    settings = load()
    assert (settings.profile, settings.models.use) == (profile, use)


@pytest.mark.parametrize(("profile", "use"), [("research", "commercial"), ("commercial", "any")])
def test_a_contradiction_of_profile_and_older_name_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, profile: str, use: str
) -> None:
    home.mkdir()
    (home / "portrait.toml").write_text(f'[models]\nuse = "{use}"\n')
    monkeypatch.setenv("PORTRAIT_PROFILE", profile)
    with pytest.raises(OperatorError, match=r"remove models\.use, and keep profile") as caught:
        load()
    assert caught.value.code == "bad_settings"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('profile = "free"\n', "profile"),
        ("[prepare]\nmosst = 3\n", "prepare.mosst"),
        ("[prepare]\nmost = 'many'\n", "prepare.most"),
        ("[no_such_section]\n", "no_such_section"),
        ("models = 3\n", "models"),
        ("[prepare\n", "cannot be read"),
        ("[models]\nhub_token = 'secret'\n", "PORTRAIT_HUB_TOKEN"),
    ],
)
def test_what_does_not_fit_is_named(home: Path, text: str, named: str) -> None:
    home.mkdir()
    (home / "portrait.toml").write_text(text)
    with pytest.raises(OperatorError) as caught:
        load()
    assert caught.value.code == "bad_settings"
    assert named in caught.value.message


def test_networks_of_webhooks(home: Path) -> None:
    home.mkdir()
    place = home / "portrait.toml"
    place.write_text('[tasks.webhooks]\nnetworks = ["10.1.2.0/24", "fd00::/64"]\n')
    assert load_installation().tasks.webhooks.networks == ("10.1.2.0/24", "fd00::/64")
    for wrong in ('["10.1.2.3/24"]', '["inside.example"]', '"10.1.2.0/24"'):
        place.write_text(f"[tasks.webhooks]\nnetworks = {wrong}\n")
        with pytest.raises(OperatorError, match="webhooks"):
            load_installation()


def test_unknown_variable_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_PREPARE__MOSST", "9")
    with pytest.raises(OperatorError, match="mosst"):
        load()


def test_a_named_file_must_exist(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_SETTINGS", str(home / "nowhere.toml"))
    with pytest.raises(OperatorError, match="does not exist"):
        load()


def test_the_token_is_not_in_the_repr(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_HUB_TOKEN", "hf_secret")
    settings = load()
    assert settings.models.hub_token == "hf_secret"  # noqa: S105 -- made up
    assert "hf_secret" not in repr(settings)


@pytest.mark.parametrize(
    ("variables", "hub", "token", "cache"),
    [
        ({}, "https://huggingface.co", "", None),
        ({"HF_ENDPOINT": "https://hub.example.org/"}, "https://hub.example.org", "", None),
        (
            {"HF_ENDPOINT": "https://a.example.org", "PORTRAIT_MODELS__HUB": "https://b.example.org"},
            "https://b.example.org",
            "",
            None,
        ),
        ({"HF_TOKEN": "hf_one"}, "https://huggingface.co", "hf_one", None),
        ({"HF_TOKEN": "hf_one", "PORTRAIT_HUB_TOKEN": "hf_two"}, "https://huggingface.co", "hf_two", None),
        ({"HF_HOME": "/hf"}, "https://huggingface.co", "", Path("/hf/hub")),
        ({"HF_HOME": "/hf", "HF_HUB_CACHE": "/cache"}, "https://huggingface.co", "", Path("/cache")),
        ({"HF_HUB_CACHE": "/cache", "PORTRAIT_MODELS__HUB_CACHE": "/own"}, "https://huggingface.co", "", Path("/own")),
    ],
)
def test_what_hugging_faces_programs_are_told_counts_where_no_setting_says_it(
    variables: dict[str, str], hub: str, token: str, cache: Path | None, tmp_path: Path
) -> None:
    models = load({"PORTRAIT_HOME": str(tmp_path), **variables}).models
    assert (models.hub, models.hub_token, models.hub_cache) == (hub, token, cache)


def test_tasks_have_a_section_of_their_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / "portrait.toml").write_text("[tasks]\nretention_days = 7\n[tasks.quotas]\njobs = 2\n[prepare]\nmost = 9\n")
    monkeypatch.setenv("PORTRAIT_TASKS__LEASE__SECONDS", "3")
    installation = load_installation()
    assert load() == installation.flows
    assert installation.flows.prepare.most == 9
    assert (installation.tasks.retention_days, installation.tasks.quotas.jobs, installation.tasks.lease.seconds) == (
        7,
        2,
        3,
    )
    assert installation.tasks.database == f"sqlite:///{home / 'ledger.db'}"
    assert installation.tasks.broker == f"filesystem://{home / 'broker'}"
    assert installation.tasks.data == home / "data"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[tasks]\nretention = 7\n", "tasks.retention"),
        ("[tasks.lease]\nseconds = 'long'\n", "tasks.lease.seconds"),
        ("[tasks]\ndatabase = 'postgresql://me:secret@host/x'\n", "PORTRAIT_TASKS__DATABASE"),
    ],
)
def test_what_does_not_fit_in_tasks_is_named(home: Path, text: str, named: str) -> None:
    home.mkdir()
    (home / "portrait.toml").write_text(text)
    with pytest.raises(OperatorError, match=named) as caught:
        load()
    assert "secret@" not in caught.value.message


def test_passwords_of_servers_are_not_in_the_repr(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_TASKS__DATABASE", "postgresql://me:hidden@host/x")
    assert "hidden" not in repr(load_installation())


def test_what_reads_settings_is_made_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_installation()
    monkeypatch.setattr(settings, "TypeAdapter", None)
    monkeypatch.setenv("PORTRAIT_TASKS__LEASE__SECONDS", "7")
    assert (first.tasks.lease.seconds, load_installation().tasks.lease.seconds) == (60, 7)


@pytest.mark.parametrize("variable", ["PORTRAIT_HOME", "HF_HOME", "HF_HUB_CACHE"])
def test_the_home_of_nobody_is_named_with_its_variable(tmp_path: Path, variable: str) -> None:
    with pytest.raises(OperatorError, match=rf"^~nobody-here/x .* Set {variable} to a whole path\.$") as caught:
        load({"PORTRAIT_HOME": str(tmp_path), variable: "~nobody-here/x"})
    assert caught.value.code == "bad_settings"


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Containers run as numbers that no user has."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(OperatorError, match="Set PORTRAIT_HOME to a whole path"):
        settings.home({})
    assert settings.home({"PORTRAIT_HOME": str(tmp_path)}) == tmp_path
    assert not private_files._is_ours(tmp_path / "gone")
    assert private_files._is_ours(tmp_path)
