"""Checks and tests of a draft: their progress, and the test's samples beside the published picture."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from app.components import current_person, errors, jobs, markdown, widgets
from app.operators.styles import labels
from app.session import client, get_state, remembered, set_state, translate, translate_or
from tasks import schemas

KINDS = ("test", "check")
MAX_PEOPLE = 3
"""People of one's own that one test draws, as many as the API takes."""
NEWEST = 200
"""Checks, and tests, of all styles that are looked through."""
UNLIKE = 2
"""The step of likeness, 0 to 3, from which a sample is not like its person: see `portrait.faces.likeness`."""


def jobs_of_style(id: str) -> list[schemas.Job]:
    """All operators' checks and tests of a style, the newest first."""
    every = [job for kind in KINDS for job in client().jobs(kind=kind, all_owners=True, limit=NEWEST)]
    mine = [job for job in every if job.wants.get("style") == id]
    return sorted(mine, key=lambda each: each.created, reverse=True)


def show_test(style: schemas.OperatorStyle, draft: schemas.StyleDraft, style_jobs: Sequence[schemas.Job]) -> None:
    """Show the progress of checks and tests, or their failure, and the samples of the last test."""
    if any(not each.done for each in style_jobs):
        _show_running(style.id)
    else:
        _show_failure(draft, style_jobs)
    if draft.test is not None:
        _show_samples(style, draft.test)


@st.fragment(run_every=2)
def _show_running(id: str) -> None:
    """Show the progress of running jobs, and the page again when they have ended."""
    with errors.show_errors_in_fragment():
        running = [each for each in jobs_of_style(id) if not each.done]
        if not running:
            st.rerun()
        for job in running:
            st.progress(job.progress, text=f"{translate(f'jobs.{job.kind}')} · {jobs.status_line(job)}")
            jobs.show_missing(job)
            if st.button(translate("progress.cancel"), key=f"stop-{job.id}", disabled=job.state == "cancelling"):
                errors.attempt(partial(client().cancel, job.id, any_owner=True), scope="fragment")


def _show_failure(draft: schemas.StyleDraft, style_jobs: Sequence[schemas.Job]) -> None:
    """Show why the last check or test of this edition failed."""
    last = next((each for each in style_jobs if each.wants.get("edition") == draft.edition), None)
    if last is not None and last.state in {"failed", "expired"}:
        text = translate(f"jobs.{last.state}")
        if last.fault:
            text = markdown.plain(errors.error_message(last.fault.code, last.fault.message))
        st.warning(f"{translate(f'jobs.{last.kind}')} · {text}", icon=":material/info:")


def doubt(test: schemas.StyleTest) -> str:
    """Why the samples of a test speak against publishing; empty where all of them came out like the person."""
    failed = sum(bool(each.fault) for each in test.samples)
    unlike = sum(each.step is not None and each.step >= UNLIKE for each in test.samples)
    unseen = sum(each.step is None and not each.fault for each in test.samples)
    counts = {"failed": failed, "unlike": unlike, "unseen": unseen}
    total = len(test.samples)
    said = [translate(f"style_trial.{name}", count=count, total=total) for name, count in counts.items() if count]
    return widgets.join_sentences(*said)


def chosen_card(draft: schemas.StyleDraft) -> int | None:
    """The number of the sample that people are to see on the style's card; None where none was chosen."""
    if draft.test is None or not draft.test.current:
        return None
    return get_state(f"card-{draft.test.job}")


def _choose_card(test: schemas.StyleTest) -> None:
    """Ask which sample people see on the card; at first the one most alike."""
    there = [each for each in test.samples if not each.fault and not each.person]
    if not test.current or len(there) < 2:
        return
    names = {each.number: _name(each) for each in there}
    best = min(there, key=lambda each: (each.distance is None, each.distance or 0.0)).number
    number = st.segmented_control(
        translate("style_trial.card"),
        list(names),
        default=get_state(f"card-{test.job}") or best,
        required=True,
        format_func=lambda each: markdown.plain(names[each]),
        help=translate("style_trial.card_help"),
        key=f"card-of-{test.job}",
    )
    set_state(f"card-{test.job}", number)


def _name(sample: schemas.StyleSample) -> str:
    if sample.person:
        return _own_people().get(sample.person) or translate("style_trial.somebody")
    return translate_or(f"sitter.{sample.sitter.replace(' ', '_')}", sample.sitter)


def _show_samples(style: schemas.OperatorStyle, test: schemas.StyleTest) -> None:
    """Show the samples side by side, with the picture that people see now."""
    if test.current and (reason := doubt(test)):
        st.warning(reason, icon=":material/sentiment_dissatisfied:")
    when = translate("style_trial.made", when=widgets.time_ago(test.made))
    chips = [] if test.current else [widgets.chip(translate("style_trial.old"), "fair")]
    st.html(widgets.row(*chips, widgets.single_line(when)))
    columns = len(test.samples) + (style.offered is not None)
    grid = st.grid(min(4, columns), min_column_width=150)
    for each in test.samples:
        with grid.cell():
            _show_sample(style, test, each)
    if style.offered is not None:
        with grid.cell():
            alt = translate("style_trial.before_alt", version=style.offered)
            image = widgets.picture(f"{widgets.picture_url('style', style.id)}&version={style.offered}", alt, "fit")
            version = widgets.muted(translate("styles.version", version=style.offered))
            st.html(image + widgets.card_title(translate("style_trial.before")) + version)
    _choose_card(test)


def _show_sample(style: schemas.OperatorStyle, test: schemas.StyleTest, sample: schemas.StyleSample) -> None:
    who = _name(sample)
    title = widgets.card_title(who)
    if sample.person and sample.person not in _own_people():
        st.html(title + widgets.row(labels.distance_chip(sample)) + widgets.muted(translate("style_trial.private")))
        return
    if sample.fault:
        none = widgets.row(widgets.chip(translate("style_trial.none"), "poor"))
        st.html(title + none + widgets.muted(errors.sentence(sample.fault)))
        return
    image = widgets.picture(
        labels.sample_url(style.id, sample.number, test), translate("style_trial.alt", who=who), "fit"
    )
    st.html(image + title + widgets.row(labels.distance_chip(sample)))


def choose_people() -> list[str]:
    """Ask whom a test draws, while the visitor has people of their own who can be drawn; ids, none for the sample people."""
    names = _own_people()
    if not names:
        return []
    return st.multiselect(
        translate("style_trial.people"),
        list(names),
        format_func=lambda id: names[id],
        max_selections=MAX_PEOPLE,
        placeholder=translate("style_trial.people_none"),
        help=translate("style_trial.people_help"),
        key="style-people",
    )


def _own_people() -> dict[str, str]:
    """The names of the visitor's own people who can be drawn, by id."""
    found = [each for each in remembered("own_people", lambda: client().people()) if each.consent and each.identity]
    return current_person.distinct_names(found)


def start_check(id: str) -> None:
    """Request a check of a draft."""
    errors.attempt(lambda: client().check_style(id))


def start_test(id: str, people: Sequence[str]) -> None:
    """Request a test of a draft on people of the visitor's own, or on the sample people."""
    errors.attempt(lambda: client().test_style(id, people))
