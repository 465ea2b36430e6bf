"""Fields of a style: each keeps what was typed in it, and tells what is wrong with it right below."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.components import widgets
from app.operators.styles.draft_edits import Desk
from app.session import recall, remember, say, say_or

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Note:
    """Something that is wrong, or might be better."""

    level: str
    """`error` or `warning`."""
    where: str
    """A field, or `field.part`."""
    title: str
    """In a few words; empty where there are none."""
    tip: str

    @property
    def short(self) -> str:
        """The few words, or else the whole sentence."""
        return self.title or self.tip

    def html(self) -> str:
        """The note as it stands below its field."""
        level = widgets.chip(say(f"style_level.{self.level}"), "poor" if self.level == "error" else "fair")
        heading = f"<b>{widgets.safe(self.title)}.</b> " if self.title else ""
        return f'<p class="p-note p-note-{self.level}">{level} {heading}{widgets.safe(self.tip)}</p>'


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields over one desk."""

    desk: Desk
    notes: Sequence[Note]

    def line(self, name: str, most: int | None = None) -> str:
        """A few words."""
        value = st.text_input(_label(name), max_chars=most, key=self.held(name, self.now(name)), help=_help(name))
        self.beside(name)
        return value or ""

    def passage(self, name: str, most: int) -> str:
        """Many words."""
        key = self.held(name, self.now(name))
        value = st.text_area(_label(name), max_chars=most, height=120, key=key, help=_help(name))
        self.beside(name)
        return value or ""

    def choice(self, name: str, options: Sequence[str]) -> str:
        """One of several, or another name."""
        now = str(self.now(name))
        every = list(options) if now in options else [*options, now]
        key = self.held(name, now)
        value = st.selectbox(_label(name), every, key=key, help=_help(name), accept_new_options=True)
        self.beside(name)
        return value or ""

    def words(self, name: str, options: Sequence[str], show: Callable[[str], str] = str) -> list[str]:
        """Any of several, or words of one's own."""
        now = [str(each) for each in self.now(name) or []]
        value = st.multiselect(
            _label(name),
            list(dict.fromkeys([*options, *now])),
            format_func=show,
            key=self.held(name, now),
            help=_help(name),
            placeholder=say("style_form.choose"),
            accept_new_options=True,
        )
        self.beside(name)
        return list(value)

    def share(self, name: str) -> float:
        """How much of something, 0..1."""
        value = st.slider(
            _label(name), 0.0, 1.0, step=0.05, key=self.held(name, float(self.now(name))), help=_help(name)
        )
        self.beside(name)
        return float(value)

    def number(self, name: str, least: int, most: int) -> int:
        """How many of something."""
        key = self.held(name, int(self.now(name)))
        value = st.number_input(_label(name), least, most, step=1, key=key, help=_help(name))
        self.beside(name)
        return int(value)

    def rows(self, name: str, kept: Sequence[Row], draw: Callable[[str, Row], Row | None], most: int) -> list[Row]:
        """Rows of fields: those there are, and an empty one for the next. `draw` gets where its keys begin, and its row."""
        memory = f"rows-{name}-{self.desk.style}-{self.desk.turn}"
        count = max(recall(memory, 0), len(kept))
        found: list[Row] = []
        number = 0
        while number <= count and number < most:
            row = draw(f"{name}-{number}", kept[number] if number < len(kept) else {})
            if row is not None:
                found.append(row)
                count = max(count, number + 1)
            number += 1
        remember(memory, count)
        self.beside(name)
        return found

    def now(self, name: str) -> Any:
        """What a field says at present."""
        return self.desk.typed.get(name, "")

    def held(self, name: str, first: Any) -> str:
        """The key of a field, which begins with a value, and with what was typed after the page was left."""
        key = f"field-{name}-{self.desk.style}-{self.desk.turn}"
        if key not in st.session_state:
            st.session_state[key] = first
        return key

    def beside(self, name: str) -> None:
        """What is wrong with a field."""
        mine = [each for each in self.notes if each.where.split(".", 1)[0] == name]
        if mine:
            st.html("".join(each.html() for each in mine))


def _label(name: str) -> str:
    return say(f"style_field.{name}")


def _help(name: str) -> str | None:
    return say_or(f"style_help.{name}", "") or None
