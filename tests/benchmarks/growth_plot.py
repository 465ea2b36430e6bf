"""Draws docs/growth.svg from the table of docs/benchmarks.md: `python -m tests.benchmarks.growth_plot`.

Both axes are logarithmic and each line begins at 1: how often the smallest size, and how often its cost. What is linear goes
along the dashed line.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PLOT = DOCS / "benchmarks.md", DOCS / "growth.svg"
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 900, 520, 60, 20, 320, 50
DECADES, BELOW = 3, 0.35
"""Of both axes; and of costs that come out smaller than that of the smallest size."""
COLOURS = ("#1b6ca8", "#c0392b", "#2e7d32", "#8e44ad", "#d35400", "#00838f", "#5d4037", "#ad1457", "#455a64", "#9e9d24")


@dataclass(frozen=True, slots=True)
class Line:
    """What was measured of one thing: its sizes, and milliseconds of CPU time at each."""

    name: str
    sizes: Sequence[float]
    costs: Sequence[float]
    exponent: str

    def points(self) -> Iterator[tuple[float, float]]:
        """Decades from the smallest size, and of its cost."""
        for size, cost in zip(self.sizes, self.costs, strict=True):
            yield math.log10(size / self.sizes[0]), math.log10(cost / self.costs[0])


def lines(page: str) -> Iterator[Line]:
    """The rows of the table of growth, of which "the same" stands for the sizes of the row before."""
    sizes: Sequence[float] = ()
    for row in re.findall(r"^\|(.+)\|$", page.split("## Growth")[1], re.M)[2:]:
        name, told, costs, exponent = (cell.strip() for cell in row.split("|"))
        if told != "the same":
            sizes = [float(each.split()[0].replace(",", "")) for each in told.split(" · ")]
        yield Line(
            name.replace("`", ""), sizes, [float(each.replace(",", "")) for each in costs.split(" · ")], exponent
        )


def at(decades: float, of_cost: float) -> tuple[float, float]:
    """The place of a point in the picture."""
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return LEFT + across * decades / DECADES, HEIGHT - BOTTOM - down * (max(of_cost, -BELOW) + BELOW) / (
        DECADES + BELOW
    )


def draw(found: Sequence[Line]) -> str:
    """The picture as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for decade in range(DECADES + 1):
        (x, low), (far, y) = at(decade, -BELOW), at(DECADES, decade)
        parts.append(f'<path d="M{x:.0f} {TOP}V{low:.0f}M{LEFT} {y:.0f}H{far:.0f}" stroke="#ccc"/>')
        parts.append(f'<text x="{x:.0f}" y="{HEIGHT - 28}" text-anchor="middle">{10**decade:,}×</text>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{10**decade:,}×</text>')
    (x, y), (far, high) = at(0, 0), at(DECADES, DECADES)
    parts.append(f'<path d="M{x:.0f} {y:.0f}L{far:.0f} {high:.0f}" stroke="#000" stroke-dasharray="5 5"/>')
    parts.append(f'<text x="{(LEFT + far) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">size</text>')
    parts.append(
        f'<text x="14" y="{HEIGHT / 2:.0f}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2:.0f})">CPU time</text>'
    )
    for number, line in enumerate(found):
        colour, dash = COLOURS[number % len(COLOURS)], "" if number < len(COLOURS) else ' stroke-dasharray="2 3"'
        path = "L".join(f"{x:.0f} {y:.0f}" for x, y in (at(*point) for point in line.points()))
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        y = TOP + 12 + 26 * number
        parts.append(f'<path d="M{far + 14:.0f} {y - 4}h22" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{far + 42:.0f}" y="{y}">{escape(line.name)}: {line.exponent}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    PLOT.write_text(draw(list(lines(PAGE.read_text("utf-8")))), "utf-8")
