"""Print sheets: as many pictures of one size as fit a paper, with crop marks, as JPEG and PDF; marked as the picture is."""

import io
import math
from dataclasses import dataclass

import PIL.Image
import PIL.ImageDraw
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfdoc import PDFDictionary, PDFName, PDFStream
from reportlab.pdfgen.canvas import Canvas

from pipelines.deliver import save
from pipelines.idphotos.presets import to_pixels
from pipelines.marks.manifest import Manifest, Parent
from pipelines.marks.marks import Marks
from portrait.errors import UserError

GAP = 2.0
"""Millimetres between photos unless something else is asked for: room for a blade and the marks of both."""
MARGIN = 2.0
"""Millimetres at the paper's edge that stay blank."""
MARK_GAP = 0.3
"""Distance of a crop mark from the photo in millimetres: it shall not be left on it."""
INNER_MARK, OUTER_MARK = 0.7, 1.5
"""Lengths of a mark between photos, and of one at the outside."""
LINE_WIDTH = 0.15
"""Width of a mark in millimetres."""
MARK_GREY = 90
"""Lightness of a mark, 0..255."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where photos lie on a paper; millimetres from its upper left corner."""

    paper: tuple[float, float]
    photo: tuple[float, float]
    positions: tuple[tuple[float, float], ...]
    """Upper left corners of the photos."""
    gap: float = GAP
    """Between two photos; below the length of two marks, those between them are left out."""

    def crop_marks(self) -> list[tuple[float, float, float, float]]:
        """Crop marks as lines x, y, x, y: two at each corner of each photo, outside of it."""
        wide, tall = self.photo
        lefts, tops = {left for left, _ in self.positions}, {top for _, top in self.positions}
        lines = []
        crowded = self.gap < 2 * (MARK_GAP + INNER_MARK)
        for left, top in self.positions:
            for x, out in ((left, -1 if left > min(lefts) else -2), (left + wide, 1 if left < max(lefts) else 2)):
                for y, up in ((top, -1 if top > min(tops) else -2), (top + tall, 1 if top < max(tops) else 2)):
                    if not (crowded and abs(out) == 1):
                        lines.append((x + _mark_start(out), y, x + _mark_end(out), y))
                    if not (crowded and abs(up) == 1):
                        lines.append((x, y + _mark_start(up), x, y + _mark_end(up)))
        return lines


def arrange_photos(paper: tuple[float, float], photo: tuple[float, float], gap: float = GAP) -> Layout:
    """Arrange as many photos as fit, `gap` mm apart, upright, in the middle of the paper, which is turned where more fit so.

    Raises `UserError` (`paper_too_small`).
    """
    best = max((paper, (paper[1], paper[0])), key=lambda each: math.prod(_grid_size(each, photo, gap)))
    across, down = _grid_size(best, photo, gap)
    if not across * down:
        raise UserError(
            "paper_too_small",
            f"A photo of {photo[0]:.3g}×{photo[1]:.3g} mm does not fit on {paper[0]:g}×{paper[1]:g} mm.",
        )
    left = (best[0] - across * photo[0] - (across - 1) * gap) / 2
    top = (best[1] - down * photo[1] - (down - 1) * gap) / 2
    places = tuple(
        (left + column * (photo[0] + gap), top + row * (photo[1] + gap))
        for row in range(down)
        for column in range(across)
    )
    return Layout(best, photo, places, gap)


def largest_print(paper: tuple[float, float], aspect: float) -> tuple[float, float]:
    """Width and height in millimetres of the largest print that fits a paper; `aspect` is its width by its height."""
    room = [side - 2 * MARGIN for side in paper]
    width = max(min(wide, tall * aspect) for wide, tall in (room, room[::-1]))
    width = math.floor(width * 10) / 10
    return width, width / aspect


@dataclass(frozen=True, slots=True)
class Origin:
    """What a sheet says of where its photo comes from."""

    source_type: str
    """IPTC's digital source type of the photo."""
    marks: Marks
    parent: Parent | None = None
    """The delivered file of the photo; None: the photo's JPEG is that file."""

    def sign(self, sheet: bytes, mime: str, content: bytes) -> bytes:
        """Return a sheet with credentials, in which the photo's file is an ingredient; raises `cannot_sign`."""
        parent = self.parent or Parent(content, "image/jpeg")
        return self.marks.sign(sheet, mime, Manifest(self.source_type, ("c2pa.edited",), parent=parent))


def encode_jpeg(layout: Layout, content: bytes, dpi: int, origin: Origin) -> bytes:
    """Return the sheet as a JPEG of `dpi`; `content` is the photo's JPEG. Raises `OperatorError` (`cannot_sign`)."""
    sheet = PIL.Image.new("RGB", (to_pixels(layout.paper[0], dpi), to_pixels(layout.paper[1], dpi)), "white")
    photo = PIL.Image.open(io.BytesIO(content)).convert("RGB")
    cell = (to_pixels(layout.photo[0], dpi), to_pixels(layout.photo[1], dpi))
    if photo.size != cell:
        photo = photo.resize(cell, PIL.Image.Resampling.LANCZOS)
    for left, top in layout.positions:
        sheet.paste(photo, (to_pixels(left, dpi), to_pixels(top, dpi)))
    draw = PIL.ImageDraw.Draw(sheet)
    for line in layout.crop_marks():
        draw.line(
            [to_pixels(each, dpi) for each in line],
            fill=(MARK_GREY, MARK_GREY, MARK_GREY),
            width=max(1, to_pixels(LINE_WIDTH, dpi)),
        )
    options = {"quality": 95, "subsampling": 0, "dpi": (dpi, dpi)}
    made = save(sheet, "JPEG", origin.marks.packet(origin.source_type), options)
    return origin.sign(made, "image/jpeg", content)


def encode_pdf(layout: Layout, content: bytes, origin: Origin, title: str = "ID photos") -> bytes:
    """Return the sheet as a PDF of the paper's exact size; the photo's JPEG goes in once, unchanged, and marks are lines.

    The digital source type stands in the document's XMP. Raises `OperatorError` (`cannot_sign`).
    """
    file = io.BytesIO()
    wide, tall = layout.paper
    # Invariant: the same photo gives the same file, without time and random identity.
    canvas = Canvas(file, pagesize=(wide * mm, tall * mm), pageCompression=0, invariant=1)
    canvas.setTitle(title)
    # Scaling "to fit" would make every photo a few per cent too small.
    canvas.setViewerPreference("PrintScaling", "None")
    kind = PDFDictionary({"Type": PDFName("Metadata"), "Subtype": PDFName("XML")})
    # reportlab has no method for a document's XMP; its catalog takes it.
    canvas._doc.Catalog.Metadata = PDFStream(kind, origin.marks.packet(origin.source_type), filters=[])  # pyrefly: ignore[missing-attribute] -- undeclared
    picture = ImageReader(io.BytesIO(content))
    for left, top in layout.positions:
        corner = (left * mm, (tall - top - layout.photo[1]) * mm)
        canvas.drawImage(picture, *corner, width=layout.photo[0] * mm, height=layout.photo[1] * mm)
    canvas.setLineWidth(LINE_WIDTH * mm)
    canvas.setStrokeGray(MARK_GREY / 255)
    for x, y, to_x, to_y in layout.crop_marks():
        canvas.line(x * mm, (tall - y) * mm, to_x * mm, (tall - to_y) * mm)
    canvas.showPage()
    canvas.save()
    return origin.sign(file.getvalue(), "application/pdf", content)


def _mark_start(side: int) -> float:
    """Return where a mark begins, from the photo's edge; `side` is -1 or 1 between photos, -2 or 2 at the outside."""
    return math.copysign(MARK_GAP, side)


def _mark_end(side: int) -> float:
    return math.copysign(MARK_GAP + (OUTER_MARK if abs(side) == 2 else INNER_MARK), side)


def _grid_size(paper: tuple[float, float], photo: tuple[float, float], gap: float) -> tuple[int, int]:
    """Return how many photos fit across and down."""
    across, down = (int((paper[side] - 2 * MARGIN + gap + 1e-6) // (photo[side] + gap)) for side in (0, 1))
    return max(across, 0), max(down, 0)
