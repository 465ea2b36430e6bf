"""Trying a draft out: a look at its picture, three people drawn in it, beside what was published before."""

from collections.abc import Sequence

import streamlit as st

from app.components import errors, jobs, widgets
from app.operators.styles import labels
from app.session import client, say, say_or
from tasks import schemas

KINDS = ("test", "check")


def found(id: str) -> list[schemas.Job]:
    """Looks and tests of a style, whoever asked for them, the newest first."""
    every = [job for kind in KINDS for job in client().jobs(kind=kind, everybodys=True)]
    mine = [job for job in every if job.wants.get("style") == id]
    return sorted(mine, key=lambda each: each.created, reverse=True)


def show(style: schemas.OwnStyle, draft: schemas.StyleDraft, tried: Sequence[schemas.Job]) -> None:
    """What is being tried out, or what came of it."""
    if any(not each.done for each in tried):
        _working(style.id)
    else:
        _lost(draft, tried)
    if draft.test is not None:
        _samples(style, draft.test)


@st.fragment(run_every=2)
def _working(id: str) -> None:
    """How it goes; the page is shown anew when it is over."""
    with errors.living():
        running = [each for each in found(id) if not each.done]
        if not running:
            st.rerun()
        for job in running:
            st.progress(job.progress, text=f"{say(f'jobs.{job.kind}')} · {jobs.standing(job)}")
            jobs.missing(job)
            if st.button(say("progress.cancel"), key=f"stop-{job.id}", disabled=job.state == "cancelling"):
                with errors.told():
                    client().cancel(job.id, anybodys=True)
                    st.rerun(scope="fragment")


def _lost(draft: schemas.StyleDraft, tried: Sequence[schemas.Job]) -> None:
    """Why the last look or test of this edition came to nothing."""
    last = next((each for each in tried if each.wants.get("edition") == draft.edition), None)
    if last is not None and last.state in {"failed", "expired"}:
        text = errors.words(last.fault.code, last.fault.message) if last.fault else say(f"jobs.{last.state}")
        st.warning(f"{say(f'jobs.{last.kind}')} · {text}", icon=":material/info:")


def _samples(style: schemas.OwnStyle, test: schemas.StyleTest) -> None:
    """Three people side by side, and how people see the style now."""
    when = say("style_trial.made", when=widgets.ago(test.made))
    st.html(widgets.row(widgets.name(when)) if test.current else _old(when))
    shown = len(test.samples) + (style.offered is not None)
    grid = st.grid(min(4, shown), min_column_width=150)
    for each in test.samples:
        with grid.cell():
            _sample(style, test, each)
    if style.offered is not None:
        with grid.cell():
            version = say("styles.version", version=style.offered)
            alt = say("style_trial.before_alt", version=style.offered)
            address = f"{widgets.source('style', style.id)}&version={style.offered}"
            st.html(
                widgets.picture(address, alt, "fit") + widgets.title(say("style_trial.before")) + widgets.small(version)
            )


def _old(when: str) -> str:
    return widgets.row(widgets.chip(say("style_trial.old"), "fair"), widgets.name(when))


def _sample(style: schemas.OwnStyle, test: schemas.StyleTest, sample: schemas.StyleSample) -> None:
    who = say_or(f"sitter.{sample.sitter.replace(' ', '_')}", sample.sitter)
    if sample.fault:
        st.html(
            widgets.title(who)
            + widgets.row(widgets.chip(say("style_trial.none"), "poor"))
            + widgets.small(sample.fault)
        )
        return
    alt = say("style_trial.alt", who=who)
    address = labels.sample(style.id, sample.number, test)
    st.html(widgets.picture(address, alt, "fit") + widgets.title(who) + widgets.row(labels.distance(sample.distance)))


def ask(id: str, kind: str) -> None:
    """Have a worker look, or try out."""
    act = client().test_style if kind == "test" else client().check_style
    with errors.told():
        act(id)
        st.rerun()
