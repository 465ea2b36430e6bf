"""Fills an installation with a row in every table, by its API and a worker, and keeps its ledger, its files and its answers."""

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import PIL.Image
import skimage.data

from tests.compat import documents, facts
from tests.compat.asking import Caller, caller, running, wait
from tests.compat.make_portraits import Run
from tests.compat.places import FIXTURES, HERE
from tests.tasks.servers import free_port

LATER = 4_102_444_800.0
"""The year 2100: what would be too old by then is given that time."""
KEY = "the-first-request"
CONSENT = {"agreed": True, "text_version": "1", "given_by": "Ann"}
STYLES = ("kept-picture", "kept-light", "kept-words")


def picture(file: Path, left: int, side: int = 280) -> Path:
    """A part of the astronaut's photo."""
    PIL.Image.fromarray(skimage.data.astronaut()[:side, left : left + side]).save(file, quality=80)
    return file


def styles(folder: Path) -> None:
    """The folders of three styles."""
    for name in STYLES:
        (folder / name).mkdir(parents=True)
        shutil.copyfile(HERE / "given" / f"{name}.toml", folder / name / "style.toml")
    picture(folder / "kept-picture" / "picture.jpg", 0, 512)


def write(home: Path, run: Run) -> None:
    """All of it."""
    home.mkdir()
    os.environ |= {"PORTRAIT_TASKS__CPU_FOR_GPU_QUEUES": "true", "PORTRAIT_TRAIN__RANK": "2"}
    styles(home / "styles")
    for name in STYLES:
        run("styles", "add", home / "styles" / name)
    run("styles", "check", *STYLES)
    run("styles", "export", *STYLES, "-o", FIXTURES / "styles.zip")
    run("styles", "publish", "kept-words")
    secrets = {
        owner: run("keys", "add", owner, "--role", role, "--name", f"{owner}'s")["secret"]
        for owner, role in (("ann", "person"), ("olga", "admin"))
    }
    port = free_port()
    with running("api", "--port", port):
        callers = {owner: caller(port, secret) for owner, secret in secrets.items()}
        wait(callers["ann"])
        with running("worker", "--queues", "cpu,gpu.train,gpu.generate"):
            told = _work(home, callers["ann"], callers["olga"])
        told["waiting"] = callers["ann"].ask(
            "/generations", json={"people": {"1": told["person"]}, "style": "kept-picture", "seed": 5}
        )["id"]
        cancelled = callers["ann"].ask("/generations", json={"people": {"1": told["person"]}, "style": "studio-grey"})
        callers["ann"].ask(f"/jobs/{cancelled['id']}/cancel")
        run("keys", "list")
        run("styles", "list")
        for name in STYLES:
            run("styles", "show", name)
        run("styles", "stats")
        code = run("keys", "link", "ann")["code"]
        _keep(home)
        documents.written(FIXTURES / "answers.json", _answers(callers, told))
        openapi = callers["ann"].get("/openapi.json")
        documents.written(FIXTURES / "openapi.json", facts.wire(openapi))
        export = callers["ann"].web.get("/me/export").content
        documents.written(FIXTURES / "export.json", documents.export(export))
        documents.written(FIXTURES / "metrics.json", facts.metrics(callers["olga"].web.get("/metrics").text))
    documents.written(FIXTURES / "known.json", {**told, "code": code, "secrets": secrets, "key": KEY})
    _copy(home)
    documents.written(FIXTURES / "tables.json", facts.tables(FIXTURES / "home" / "ledger.db"))


def _work(home: Path, ann: Caller, olga: Caller) -> dict[str, Any]:
    """Jobs of every kind."""
    sent = b'{"name": "Ann", "consent": {"agreed": true, "text_version": "1", "given_by": "Ann"}}'
    headers = {"Idempotency-Key": KEY, "Content-Type": "application/json"}
    person = ann.ask("/people", content=sent, headers=headers)["id"]
    gone = ann.ask("/people", json={"name": "Bea", "consent": CONSENT})["id"]
    ann.web.delete(f"/people/{gone}").raise_for_status()
    webhook = ann.ask("/webhooks", json={"url": "https://example.org/hook"})["id"]
    ann.ask(f"/webhooks/{webhook}/test")
    photo = picture(home / "me.jpg", 90)
    ann.ask(f"/people/{person}/selfies", files=[("files", ("me.jpg", photo.read_bytes()))])
    jobs = {"prepared": ann.done("/trainings", json={"person": person})}
    jobs["learned"] = ann.done("/trainings", json={"person": person, "base": "tiny", "steps": 3})
    for name in ("kept-picture", "kept-light"):
        jobs[f"checked {name}"] = olga.done(f"/operator/styles/{name}/check")
    olga.ask("/operator/styles/kept-picture/publish", json={})
    order: dict[str, Any] = {"people": {"1": person}, "seed": 4, "format": "png"}
    small = {"size": {"width": 160, "height": 160}}
    jobs["in an own style"] = ann.done("/generations", json={**order, **small, "style": "kept-picture"})
    content = olga.get("/operator/styles/kept-picture")["content"] | {"title": "Kept picture, anew"}
    draft = olga.web.put("/operator/styles/kept-picture/draft", json={"content": content}).raise_for_status().json()
    olga.done("/operator/styles/kept-picture/check")
    olga.ask("/operator/styles/kept-picture/publish", json={"edition": draft["draft"]["edition"]})
    olga.ask("/operator/styles/kept-picture/retire", params={"version": 1})
    jobs["in a studio"] = ann.done("/generations", json={**order, **small, "style": "studio-library", "format": "jpg"})
    words = {"base": "tiny", "identities": ["lora"], "steps": 6, "strengths": {"lora": 0.9}}
    jobs["of words"] = ann.done(
        "/generations",
        json={**order, **small, "style": "kept-words", "technique": words, "traits": {"hat": "with a straw hat"}},
    )
    drawn = jobs["of words"]["result"]["portraits"][0]
    jobs["changed"] = ann.done(f"/portraits/{drawn}/edits", json={"kind": "variations", "seed": 9})
    template = ann.ask("/templates", files={"file": ("pair.jpg", picture(home / "pair.jpg", 100, 240).read_bytes())})
    ann.ended(template["job"])
    jobs["in a picture"] = ann.done("/generations", json={**order, "template": template["id"]})
    nobody = ann.ask("/templates", files={"file": ("wall.jpg", picture(home / "wall.jpg", 330, 100).read_bytes())})
    jobs["failed"] = ann.ended(nobody["job"])
    ann.web.patch(f"/portraits/{drawn}", json={"favourite": True}).raise_for_status()
    states = {name: (job["state"], job["fault"]) for name, job in jobs.items()}
    wrong = {name: each for name, each in states.items() if (each[0] == "failed") != (name == "failed")}
    if wrong:
        raise SystemExit(str(wrong))
    return {
        "person": person,
        "erased": gone,
        "webhook": webhook,
        "jobs": {name: job["id"] for name, job in jobs.items()},
    }


def _keep(home: Path) -> None:
    """Give what would be too old a later time, and what names this machine another name."""
    connection = sqlite3.connect(home / "ledger.db", timeout=30)
    with connection:
        connection.execute("UPDATE sign_in_codes SET expires = ?", (LATER,))
        connection.execute("UPDATE workers SET id = 'worker', beat = ?", (LATER,))
        connection.execute("UPDATE jobs SET worker = 'worker' WHERE worker IS NOT NULL")
        tested = (
            '{"job": "job_1", "edition": "edition_1", "at": 1.0,'
            ' "samples": [{"number": 1, "sitter": "astronaut", "distance": 0.3, "fault": ""}]}'
        )
        connection.execute("UPDATE style_drafts SET tested = ?", (tested,))
    connection.close()


def _answers(callers: dict[str, Caller], told: dict[str, Any]) -> dict[str, Any]:
    """What each address answers, by who asks."""
    ann, person, webhook = callers["ann"], told["person"], told["webhook"]
    listed = ["/people", "/jobs", "/portraits", "/templates", "/webhooks", "/keys", "/me"]
    listed += [f"/people/{person}{below}" for below in ("", "/consents", "/identities", "/selfies")]
    listed += [
        f"/webhooks/{webhook}",
        f"/webhooks/{webhook}/deliveries",
        "/styles/kept-words",
        "/styles/kept-words/traits",
    ]
    for kind in ("jobs", "portraits", "templates"):
        listed += [f"/{kind}/{each['id']}" for each in ann.get(f"/{kind}?limit=200")["items"]]
    listed += [f"/jobs/{told['jobs'][name]}/events" for name in ("learned", "failed")]
    listed += [f"/selfies/{each['id']}" for each in ann.get(f"/people/{person}/selfies")["items"]]
    styled = [f"/operator/styles/{name}{below}" for name in STYLES for below in ("", "/figures")]
    asked = [("ann", each) for each in listed] + [
        ("olga", each) for each in ("/operator/jobs", "/operator/workers", *styled)
    ]
    return {f"{owner} {address}": documents.said(callers[owner].web.get(address)) for owner, address in asked}


def _copy(home: Path) -> None:
    """The ledger as one file, and the files of the owners and styles."""
    connection = sqlite3.connect(home / "ledger.db", timeout=30)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("VACUUM")
    empty = [
        name
        for name in facts.tables(home / "ledger.db")
        if not connection.execute(f"SELECT 1 FROM {name}").fetchone()  # noqa: S608 -- names of its own tables
    ]
    connection.close()
    if empty:
        raise SystemExit(f"tables without a row: {empty}")
    place = FIXTURES / "home"
    place.mkdir()
    shutil.copyfile(home / "ledger.db", place / "ledger.db")
    for name in ("owners", "styles"):
        shutil.copytree(home / "data" / name, place / "data" / name, ignore=shutil.ignore_patterns("report.html", ".*"))
