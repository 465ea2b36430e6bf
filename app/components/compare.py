"""Two pictures under a slider, laid over each other by the eyes: one is drawn over the other as far as the handle."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.components.canvas import parts

_HTML = """
<div class="frame"><img class="under" alt=""><div class="cut"><img class="over" alt=""></div><div class="line"></div></div>
<input type="range" min="0" max="100" value="50">
"""
_CSS = """
.frame { position: relative; aspect-ratio: var(--ratio); max-width: calc(78vh * var(--ratio)); margin: 0 auto; }
.frame { border-radius: 0.6rem; cursor: ew-resize; }
.frame { overflow: hidden; background: rgb(128 128 128 / 0.15); touch-action: pan-y; }
.under, .over { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; user-select: none; }
.over.laid { width: auto; height: auto; max-width: none; transform-origin: 0 0; }
.cut { position: absolute; inset: 0; overflow: hidden; background: #808080; }
.cut { clip-path: inset(0 calc(100% - var(--at, 50%)) 0 0); }
.line { position: absolute; top: 0; bottom: 0; left: var(--at, 50%); width: 3px; background: #fff; }
.line { margin-left: -1.5px; box-shadow: 0 0 4px #0009; pointer-events: none; }
input { width: 100%; margin: 0.6rem 0 0; height: 2.5rem; accent-color: var(--st-primary-color); cursor: ew-resize; }
"""
_SCRIPT = """
// The map that turns, scales and shifts the picture over the other, as a matrix of CSS: eyes are x and y of the left and of the
// right one, as shares of their picture; both pictures' sizes are in pixels.
const eyesOnEyes = (eyes, size, goal, frame) => {
  const [x1, y1, x2, y2] = eyes.map((share, at) => share * size[at % 2]);
  const [u1, v1, u2, v2] = goal.map((share, at) => share * frame[at % 2]);
  const [dx, dy, du, dv] = [x2 - x1, y2 - y1, u2 - u1, v2 - v1];
  const length = dx * dx + dy * dy;
  const [a, b] = [(dx * du + dy * dv) / length, (dx * dv - dy * du) / length];
  return [a, b, -b, a, u1 - a * x1 + b * y1, v1 - b * x1 - a * y1];
};
export default function ({ parentElement, data: [data] }) {
  parentElement.stopWatching?.();
  const find = (name) => parentElement.querySelector(name);
  const [frame, input, over, under] = [find(".frame"), find("input"), find(".over"), find(".under")];
  frame.style.setProperty("--ratio", data.ratio);
  const lay = () => {
    const laid = Boolean(data.eyes && data.goal && over.naturalWidth);
    over.classList.toggle("laid", laid);
    const size = [over.naturalWidth, over.naturalHeight];
    const matrix = laid && eyesOnEyes(data.eyes, size, data.goal, [frame.clientWidth, frame.clientHeight]);
    over.style.transform = laid ? `matrix(${matrix.join()})` : "";
  };
  over.onload = lay;
  over.src = data.before; over.alt = data.beforeAlt;
  under.src = data.after; under.alt = data.afterAlt;
  input.setAttribute("aria-label", data.label);
  const move = () => frame.style.setProperty("--at", input.value + "%");
  input.oninput = move;
  frame.onpointerdown = frame.onpointermove = (event) => {
    if (!event.buttons && event.pointerType === "mouse") return;
    const box = frame.getBoundingClientRect();
    input.value = Math.round(((event.clientX - box.left) / box.width) * 100);
    move();
  };
  move();
  lay();
  const watch = new ResizeObserver(lay);
  watch.observe(frame);
  parentElement.stopWatching = () => watch.disconnect();
  return parentElement.stopWatching;
}
"""


@dataclass(frozen=True, slots=True)
class ComparedPicture:
    """One of two pictures that are compared."""

    url: str
    alt: str
    eyes: Sequence[float] | None = None
    """x and y of the eye on the left and of that on the right, as shares of width and height; None where not known."""


def comparison_slider(
    before: ComparedPicture, after: ComparedPicture, label: str, shape: tuple[int, int], key: str = "compare-slider"
) -> None:
    """Show `before` over `after`, up to a handle that mouse, finger or arrow keys move.

    Where the eyes of both are known, `before` is turned, scaled and shifted so that they lie on each other; else it is fitted
    into the frame. `shape` is width and height of `after`, which is not cropped.
    """
    pictures = {"before": before.url, "beforeAlt": before.alt, "after": after.url, "afterAlt": after.alt}
    eyes = {"eyes": _numbers(before.eyes), "goal": _numbers(after.eyes)}
    _component()(data={**pictures, **eyes, "label": label, "ratio": shape[0] / shape[1]}, key=key)


def _numbers(eyes: Sequence[float] | None) -> list[float] | None:
    return None if eyes is None else [float(each) for each in eyes]


@cache
def _component() -> Any:
    return parts.register("compare", _HTML, _CSS, _SCRIPT)
