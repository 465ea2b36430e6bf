"""Two pictures under a slider: one is drawn over the other as far as the handle."""

from functools import cache
from typing import Any

from streamlit.components import v2

_HTML = """
<div class="frame"><img class="under" alt=""><img class="over" alt=""><div class="line"></div></div>
<input type="range" min="0" max="100" value="50">
"""
_CSS = """
.frame { position: relative; aspect-ratio: var(--ratio); max-width: calc(80vh * var(--ratio)); margin: 0 auto; }
.frame { border-radius: 0.6rem; }
.frame { overflow: hidden; background: rgb(128 128 128 / 0.15); touch-action: pan-y; }
img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: cover; }
.over { clip-path: inset(0 calc(100% - var(--at, 50%)) 0 0); }
.line { position: absolute; top: 0; bottom: 0; left: var(--at, 50%); width: 3px; background: #fff; }
.line { margin-left: -1.5px; box-shadow: 0 0 4px #0009; pointer-events: none; }
input { width: 100%; margin: 0.75rem 0 0; height: 1.75rem; accent-color: var(--st-primary-color); cursor: ew-resize; }
"""
_SCRIPT = """
export default function ({ parentElement, data }) {
  const frame = parentElement.querySelector(".frame");
  const input = parentElement.querySelector("input");
  const [over, under] = [parentElement.querySelector(".over"), parentElement.querySelector(".under")];
  frame.style.setProperty("--ratio", data.ratio);
  over.src = data.before; over.alt = data.beforeAlt;
  under.src = data.after; under.alt = data.afterAlt;
  input.setAttribute("aria-label", data.label);
  const move = () => frame.style.setProperty("--at", input.value + "%");
  input.oninput = move;
  frame.onpointermove = (event) => {
    if (!event.buttons && event.pointerType === "mouse") return;
    const box = frame.getBoundingClientRect();
    input.value = Math.round(((event.clientX - box.left) / box.width) * 100);
    move();
  };
  move();
}
"""


def comparison_slider(before: tuple[str, str], after: tuple[str, str], label: str, shape: tuple[int, int]) -> None:
    """Show the picture `before` over the picture `after`, up to a handle that mouse, finger or arrow keys move.

    Each picture is its address and its alternative text. `shape` is width and height of `after`, which is not cropped.
    """
    pictures = {"before": before[0], "beforeAlt": before[1], "after": after[0], "afterAlt": after[1]}
    _component()(data={**pictures, "label": label, "ratio": shape[0] / shape[1]}, key="compare-slider")


@cache
def _component() -> Any:
    return v2.component("portrait_compare", html=_HTML, css=_CSS, js=_SCRIPT)
