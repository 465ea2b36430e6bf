"""The admins' pages of accounts and of the audit log, against a real API in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from portrait.errors import UserError
from tests.app.pages import as_client, go_to_page, open_page, open_test_api, press, visible_text
from tests.tasks.api.harness import ApiHarness

pytestmark = pytest.mark.services  # starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def test_somebody_is_invited_with_a_link_and_its_code(api: ApiHarness) -> None:
    app = open_page(as_client(api, "root", "admin"), "accounts")
    press(app, "Make a link")
    assert "Please write the account's name" in visible_text(app)
    [name] = [each for each in app.text_input if each.label == "Account"]
    name.input("zoe")
    press(app, "Make a link")
    [link] = [each.value for each in app.code]
    code = link.rpartition("code=")[2]
    assert as_client(api, "other").open_session(code=code).owner == "zoe"
    assert "data:image/svg+xml" in visible_text(app)
    press(app, "Done")
    assert code not in visible_text(app), "it is shown once"
    assert "zoe" in visible_text(app)


def test_a_name_that_cannot_be_is_told(api: ApiHarness) -> None:
    api.key("ann")
    app = open_page(as_client(api, "root", "admin"), "accounts")
    [name] = [each for each in app.text_input if each.label == "Account"]
    name.input("ANN")
    press(app, "Make a link")
    assert len(app.warning) == 1
    assert [each.value for each in app.code] == []


def test_an_account_is_locked_unlocked_and_removed_after_a_question(api: ApiHarness) -> None:
    ann = as_client(api)
    api.prepared_person()
    app = open_page(as_client(api, "root", "admin"))
    app.query_params["id"] = "ann"
    go_to_page(app, "accounts")
    assert "People: 1 of" in visible_text(app)
    press(app, "Lock")
    assert ann.people(), "nothing happens before the answer"
    app.button(key="account-sure").click().run()
    with pytest.raises(UserError):
        ann.people()
    press(app, "Unlock")
    app.button(key="account-sure").click().run()
    assert ann.people()
    press(app, "Remove")
    app.button(key="account-cancel").click().run()
    assert ann.people()
    press(app, "Remove")
    app.button(key="account-sure").click().run()
    assert [each.id for each in as_client(api, "root", "admin").owners()] == ["root"]
    assert [each.value for each in app.exception] == []


def test_what_was_done_stands_in_the_log_by_kind(api: ApiHarness) -> None:
    root = as_client(api, "root", "admin")
    root.invite("zoe")
    root.disable_owner("zoe")
    app = open_page(root, "audit")
    assert {"Sign-in link made", "Account locked"} <= set(cells(visible_text(app)))
    app.button_group(key="audit-kind").set_value("owner").run()
    assert "Sign-in link made" not in cells(visible_text(app))
    assert app.query_params["kind"] == "owner"


def test_operators_have_neither_page(api: ApiHarness) -> None:
    for page in ("accounts", "audit"):
        app = open_page(as_client(api, "olga", "operator"), page)
        assert "Accounts" not in [each.value for each in app.title]
        assert "Audit log" not in [each.value for each in app.title]


def cells(text: str) -> list[str]:
    """The texts of the cells of a table."""
    return [each.split("</td>")[0] for each in text.split("<td>")[1:]]
