import re
from html.parser import HTMLParser
from pathlib import Path

from pipelines.pages import report
from pipelines.prepare import Overrides, Prepare
from pipelines.settings import PrepareSettings as Knobs
from portrait.photos.reasons import Thresholds
from tests.fakes import FakeFinder, FakeRestorer, RecordingProgress, picture, save


class Page(HTMLParser):
    """Counts tags and keeps what pictures say."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.alts: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.alts.append(dict(attrs).get("alt"))


def page_of(tmp_path: Path, names: list[str], people: list[int]) -> tuple[str, Page]:
    paths = [
        save(tmp_path / name, picture(person, n)) for n, (name, person) in enumerate(zip(names, people, strict=True))
    ]
    flow = Prepare(FakeFinder(), FakeRestorer(), None, Knobs(), Thresholds(full_size=100))
    training = flow(paths, Overrides(), RecordingProgress())
    text = report.write(training, tmp_path).read_text()
    page = Page()
    page.feed(text)
    return text, page


def test_each_photo_has_a_card_with_its_tip(tmp_path: Path) -> None:
    text, page = page_of(tmp_path, ["a.png", "b.png", "c.png", "d.png"], [1, 1, 2, 0])
    assert page.tags.count("article") == 4
    assert "This looks like somebody else" in text
    assert "No face was found" in text
    assert "more than one person" in text
    assert text.count("leads the set") == 1
    assert "8 more photos would help" in text


def test_names_cannot_write_html(tmp_path: Path) -> None:
    text, page = page_of(tmp_path, ["<script>alert(1)<'\".png"], [1])
    assert "script" not in page.tags
    assert "&lt;script&gt;" in text


def test_page_stands_alone(tmp_path: Path) -> None:
    text, page = page_of(tmp_path, ["a.png", "b.png"], [1, 0])
    assert not re.search(r"(src|href)=\"(?!data:|crops/)", text)
    assert all(page.alts)
    assert "script" not in page.tags
