"""Jobs that were placed together, as one order: for whom, what of it is finished, its portraits in small."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from app.components import current_person, style_titles, widgets
from app.session import client, page_address, translate
from tasks import schemas

_THUMBS = 16
"""Portraits of a job at most."""
_FACE, _THUMB = 96, 192
"""Long sides of a face and of a portrait in small, in pixels."""


@dataclass(frozen=True, slots=True)
class Order:
    """Jobs that were placed together, in the order in which they were; or one that was placed by itself."""

    id: str
    """Id of the order; of one job without an order the job's."""
    jobs: Sequence[schemas.Job]

    @property
    def people(self) -> list[str]:
        """Ids of the people in it, each once."""
        return list(dict.fromkeys(id for job in self.jobs for id in people_of(job)))

    @property
    def finished(self) -> int:
        """Portraits that are finished."""
        return sum(job.portraits for job in self.jobs)

    @property
    def ordered(self) -> int:
        """Portraits that were ordered."""
        return sum(ordered_of(job) for job in self.jobs)


@dataclass(frozen=True, slots=True)
class Known:
    """What the jobs of a page name: people and own pictures by id, and titles of styles."""

    people: Mapping[str, schemas.Person]
    names: Mapping[str, str]
    """Names of people, numbered where several have one."""
    pictures: Mapping[str, str]
    """Names of own pictures."""
    titles: dict[str, str]


def known(jobs: Iterable[schemas.Job]) -> Known:
    """Read what jobs name; own pictures where one of them is drawn in one."""
    people = client().people()
    pictures = style_titles.picture_names() if any(job.wants.get("template") for job in jobs) else {}
    by_id = {each.id: each for each in people}
    return Known(by_id, current_person.distinct_names(people), pictures, style_titles.titles_of_styles())


def grouped(jobs: Iterable[schemas.Job]) -> list[Order]:
    """Jobs by their orders, the newest order first."""
    found: dict[str, list[schemas.Job]] = {}
    for job in jobs:
        found.setdefault(job.order or job.id, []).append(job)
    placed = [Order(id, sorted(each, key=lambda job: (job.created, job.id))) for id, each in found.items()]
    return sorted(placed, key=lambda order: (order.jobs[-1].created, order.id), reverse=True)


def people_of(job: schemas.Job) -> list[str]:
    """Ids of the people in a job, by the number of their faces."""
    named = job.wants.get("people")
    if isinstance(named, Mapping):
        return [str(named[number]) for number in sorted(named, key=int)]
    return [str(job.wants["person"])] if job.wants.get("person") else []


def ordered_of(job: schemas.Job) -> int:
    """How many portraits a job is to make; none for other jobs than drawings."""
    return int(job.wants.get("count") or 1) if job.kind == "generate" else 0


def names_of(people: Sequence[str], page: Known) -> str:
    """The names of those who are there still."""
    return widgets.format_list([page.names[id] for id in people if id in page.names])


def for_whom(people: Sequence[str], page: Known) -> str:
    """Whom something is for, with their faces; nothing where nobody of them is there any more."""
    there = [page.people[id] for id in people if id in page.people]
    if not there:
        return ""
    faces = "".join(
        f'<img src="{escape(widgets.picture_url("crop", each.face, _FACE))}" alt="">' for each in there if each.face
    )
    text = translate("progress.for_whom", names=names_of(people, page))
    return f'<p class="p-whom">{faces}<b>{escape(text)}</b></p>'


def own_picture(job: schemas.Job) -> str:
    """The own picture that a job draws in, in small; empty for a style."""
    template = str(job.wants.get("template") or "")
    if not template:
        return ""
    return f'<img class="p-own" src="{escape(widgets.picture_url("template", template, _FACE))}" alt="">'


def thumbnails(job: schemas.Job, title: str) -> str:
    """The portraits of a job that are finished, in small, each a link to it, and what is being drawn; empty without any."""
    pictures = [
        f'<li><a target="_self" href="{escape(page_address("portrait", id=id, order=job.order or job.id))}">'
        f'<img src="{escape(widgets.picture_url("portrait", id, _THUMB))}" '
        f'alt="{escape(translate("progress.thumb_alt", number=number, name=title))}" loading="lazy"></a></li>'
        for number, id in enumerate(job.portrait_ids[:_THUMBS], 1)
    ]
    if job.preview and job.state == "running":
        url, alt = f"/picture/preview/{job.id}?number={job.preview}", translate("progress.preview_alt")
        pictures.append(f'<li class="p-drawn"><img src="{escape(url)}" alt="{escape(alt)}"></li>')
    return f'<ul class="p-thumbs">{"".join(pictures)}</ul>' if pictures else ""
