"""Form fields of a style: each stores its value in the session and shows errors and warnings below itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.components import widgets
from app.operators.styles.draft_edits import DraftEdits
from app.session import get_state, set_state, translate, translate_or

Row = Mapping[str, Any]
PAPER = "#dfe4ea"
"""The colour that a backdrop in a colour of one's own begins with."""


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
        return self._show(st.text_input, name, self.value(name), max_chars=max_chars) or ""

    def text_area(self, name: str, max_chars: int) -> str:
        """Text of several lines."""
        return self._show(st.text_area, name, self.value(name), max_chars=max_chars, height=120) or ""

    def select(self, name: str, options: Sequence[str]) -> str:
        """One of the options, or a value that is typed."""
        now = str(self.value(name))
        every = list(options) if now in options else [*options, now]
        return self._show(st.selectbox, name, now, options=every, accept_new_options=True) or ""

    def choice(self, name: str, options: Sequence[str], format_func: Callable[[str], str]) -> str:
        """One of the options and nothing else; what a draft from elsewhere says stays one of them."""
        now = str(self.value(name) or options[0])
        every = list(options) if now in options else [*options, now]
        return self._show(st.selectbox, name, now, options=every, format_func=format_func) or ""

    def backdrop(self, options: Sequence[str]) -> str | None:
        """One of the painted backdrops, or paper in a colour of one's own; None for a picture of one's own."""
        now = str(self.value("backdrop"))
        color, picture = translate("style_form.own_color"), translate("style_form.own_backdrop")
        named = [each for each in options if not each.startswith("#")]
        first = picture if not now else color if now.startswith("#") else now
        choice = self._show(st.selectbox, "backdrop", first, options=[*named, color, picture])
        if choice == picture:
            return None
        if choice != color:
            return choice or ""
        key = self.state_key("backdrop-color", now if now.startswith("#") else PAPER)
        return st.color_picker(color, key=key).lower()

    def multiselect(self, name: str, options: Sequence[str], format_func: Callable[[str], str] = str) -> list[str]:
        """Any of the options, and values that are typed."""
        now = [str(each) for each in self.value(name) or []]
        every, placeholder = list(dict.fromkeys([*options, *now])), translate("style_form.choose")
        extra: dict[str, Any] = {"format_func": format_func, "placeholder": placeholder, "accept_new_options": True}
        return list(self._show(st.multiselect, name, now, options=every, **extra))

    def slider(self, name: str) -> float:
        """A number of 0..1."""
        return float(self._show(st.slider, name, float(self.value(name)), min_value=0.0, max_value=1.0, step=0.05))

    def optional_share(self, name: str) -> float | None:
        """A number of 0..1, or none."""
        now = self.value(name)
        limits: dict[str, Any] = {"value": None, "min_value": 0.0, "max_value": 1.0, "step": 0.05}
        given = self._show(st.number_input, name, None if now in ("", None) else float(now), **limits)
        return None if given is None else float(given)

    def number(self, name: str, min_value: int, max_value: int) -> int:
        """An integer."""
        now, limits = int(self.value(name)), {"min_value": min_value, "max_value": max_value}
        return int(self._show(st.number_input, name, now, **limits, step=1))

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

    def cell(self, column: DeltaGenerator, label: str, key: str, default: str) -> str:
        """One line of text in a column of a row."""
        return column.text_input(label, key=self.state_key(key, default))

    def strength(self, column: DeltaGenerator, key: str, default: float, max_value: float) -> float:
        """A strength of 0..`max_value` in a column of a row."""
        label, key = translate("style_form.strength"), self.state_key(f"{key}-strength", float(default))
        return float(column.number_input(label, 0.0, max_value, step=0.05, key=key))

    def _show(self, widget: Callable[..., Any], name: str, default: Any, **options: Any) -> Any:
        """Show a field with its label and help, and the messages about it below; returns its value."""
        label, help = translate(f"style_field.{name}"), translate_or(f"style_help.{name}", "") or None
        value = widget(label, key=self.state_key(name, default), help=help, **options)
        self.show_messages(name)
        return value

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
