"""What training a model on the person adds, on the page of styles."""

from collections.abc import Sequence

import streamlit as st

from app.components import errors, markdown, widgets
from app.people.ordering.gallery import show_to_operators
from app.people.ordering.generation_options import GenerationAbilities
from app.session import client, switch_page, translate
from tasks import schemas


def training_section(
    person: schemas.Person,
    abilities: Sequence[schemas.Ability],
    person_abilities: GenerationAbilities,
) -> None:
    """Explain what training a model on the person adds, with a button for each base that is ready, or what it takes."""
    trainable = [each for each in abilities if each.name.startswith("train:")]
    # One that is learned on another is the same training.
    ready = [each.name.removeprefix("train:") for each in trainable if each.ready and not each.learn_on]
    with st.expander(
        translate("beyond.title"),
        icon=":material/auto_awesome:",
        expanded=bool(ready) and not person_abilities.can_generate,
    ):
        st.write(translate("beyond.personal"))
        if not person.learned and person_abilities.can_see_photos:
            widgets.muted_text(translate("beyond.at_once", name=person.name))
        if person.learned:
            widgets.muted_text(translate("beyond.learned", name=person.name, bases=widgets.format_list(person.learned)))
        if ready and _is_training(person):
            widgets.muted_text(translate("beyond.learning", name=person.name))
            if st.button(translate("nav.progress"), key="to-progress", icon=":material/hourglass_empty:"):
                switch_page("progress")
            return
        for base in ready:
            label = markdown.sentence("beyond.train", name=person.name) + (f" ({base})" if len(ready) > 1 else "")
            if st.button(label, key=f"train-{base}", icon=":material/school:"):
                with errors.show_errors():
                    client().train(schemas.TrainingRequest.model_validate({"person": person.id, "base": base}))
                    switch_page("progress")
        if not ready:
            st.write(translate("beyond.no_base") if trainable else translate("beyond.needs_gpu"))
            show_to_operators([line for each in trainable for line in each.missing])


def _is_training(person: schemas.Person) -> bool:
    waiting = client().jobs(["queued", "running"], "train")
    return any(job.wants.get("person") == person.id for job in waiting)
