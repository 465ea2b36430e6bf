"""Form fields of a style: each stores its value in the session and shows errors and warnings below itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import streamlit as st

from app.components import widgets
from app.operators.styles.draft_edits import DraftEdits
from app.session import get_state, set_state, translate, translate_or

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FieldMessage:
    """An error or a warning about a field."""

    level: str
    """`error` or `warning`."""
    field: str
    """A field, or `field.part`."""
    title: str
    """A short name of it; empty where there is none."""
    tip: str

    @property
    def short(self) -> str:
        """The title, or else the tip."""
        return self.title or self.tip

    def html(self) -> str:
        """The message as it stands below its field."""
        level = widgets.chip(translate(f"style_level.{self.level}"), "poor" if self.level == "error" else "fair")
        heading = f"<b>{escape(self.title)}.</b> " if self.title else ""
        return f'<p class="p-note p-note-{self.level}">{level} {heading}{escape(self.tip)}</p>'


@dataclass(frozen=True, slots=True)
class Fields:
    """Form fields over the edits of one draft; `name` is the field's name in the style's content."""

    edits: DraftEdits
    messages: Sequence[FieldMessage]

    def text(self, name: str, max_chars: int | None = None) -> str:
        """One line of text."""
        value = st.text_input(
            _label(name), max_chars=max_chars, key=self.state_key(name, self.value(name)), help=_help(name)
        )
        self.show_messages(name)
        return value or ""

    def text_area(self, name: str, max_chars: int) -> str:
        """Text of several lines."""
        key = self.state_key(name, self.value(name))
        value = st.text_area(_label(name), max_chars=max_chars, height=120, key=key, help=_help(name))
        self.show_messages(name)
        return value or ""

    def select(self, name: str, options: Sequence[str]) -> str:
        """One of the options, or a value that is typed."""
        now = str(self.value(name))
        every = list(options) if now in options else [*options, now]
        key = self.state_key(name, now)
        value = st.selectbox(_label(name), every, key=key, help=_help(name), accept_new_options=True)
        self.show_messages(name)
        return value or ""

    def multiselect(self, name: str, options: Sequence[str], format_func: Callable[[str], str] = str) -> list[str]:
        """Any of the options, and values that are typed."""
        now = [str(each) for each in self.value(name) or []]
        value = st.multiselect(
            _label(name),
            list(dict.fromkeys([*options, *now])),
            format_func=format_func,
            key=self.state_key(name, now),
            help=_help(name),
            placeholder=translate("style_form.choose"),
            accept_new_options=True,
        )
        self.show_messages(name)
        return list(value)

    def slider(self, name: str) -> float:
        """A number of 0..1."""
        value = st.slider(
            _label(name), 0.0, 1.0, step=0.05, key=self.state_key(name, float(self.value(name))), help=_help(name)
        )
        self.show_messages(name)
        return float(value)

    def number(self, name: str, min_value: int, max_value: int) -> int:
        """An integer."""
        key = self.state_key(name, int(self.value(name)))
        value = st.number_input(_label(name), min_value, max_value, step=1, key=key, help=_help(name))
        self.show_messages(name)
        return int(value)

    def rows(
        self, name: str, rows: Sequence[Row], draw_row: Callable[[str, Row], Row | None], max_rows: int
    ) -> list[Row]:
        """Rows of fields: the given ones and an empty one to add another; returns those that are filled.

        `draw_row` gets the prefix of its keys and the row's first values, and returns its row, or None while it is empty.
        """
        count_key = f"rows-{name}-{self.edits.style}-{self.edits.form_version}"
        count = max(get_state(count_key, 0), len(rows))
        rows_found: list[Row] = []
        number = 0
        while number <= count and number < max_rows:
            row = draw_row(f"{name}-{number}", rows[number] if number < len(rows) else {})
            if row is not None:
                rows_found.append(row)
                count = max(count, number + 1)
            number += 1
        set_state(count_key, count)
        self.show_messages(name)
        return rows_found

    def value(self, name: str) -> Any:
        """A field's value at present."""
        return self.edits.current.get(name, "")

    def state_key(self, name: str, default: Any) -> str:
        """The key of a field in the session state, which is set to `default` where the field is new there."""
        key = f"field-{name}-{self.edits.style}-{self.edits.form_version}"
        if key not in st.session_state:
            st.session_state[key] = default
        return key

    def show_messages(self, name: str) -> None:
        """Show the messages about a field."""
        own = [each for each in self.messages if each.field.split(".", 1)[0] == name]
        if own:
            st.html("".join(each.html() for each in own))


def _label(name: str) -> str:
    return translate(f"style_field.{name}")


def _help(name: str) -> str | None:
    return translate_or(f"style_help.{name}", "") or None
