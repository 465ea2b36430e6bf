import pytest

from pipelines.idphotos import presets
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.idphoto_spec import IdPhotoSpec


def test_every_preset_names_its_source_and_can_be_met() -> None:
    every = presets.load_presets().preset
    assert len(every) >= 15
    assert len({each.id for each in every}) == len(every)
    for each in every:
        assert each.source
        rules = each.composition
        assert rules.head.low is not None
        assert rules.head.high is not None
        assert 0.3 < rules.head.low < rules.head.high < 0.9
        for span in (rules.eyes, rules.top, rules.below):
            assert span.low is None or span.high is None or 0 <= span.low < span.high < 1


@pytest.mark.parametrize(
    ("name", "millimetres", "dpi"),
    [
        ("fi-passport", (36, 47), 353),
        ("pl-identity", (35, 45), 357),
        ("us-visa-online", (50.8, 50.8), 600),
        ("us-diversity-visa", (50.8, 50.8), 300),
        ("de-passport", (35, 45), 300),
    ],
)
def test_pictures_in_pixels_have_the_documents_millimetres(
    name: str, millimetres: tuple[float, float], dpi: int
) -> None:
    preset = presets.load_presets().find(name)
    assert preset.millimetres == pytest.approx(millimetres)
    assert preset.dpi == dpi
    printed = (preset.pixels.width / preset.dpi * 25.4, preset.pixels.height / preset.dpi * 25.4)
    assert printed == pytest.approx(millimetres, abs=0.05)


def test_sizes_of_the_field_have_names() -> None:
    every = presets.load_presets()
    sizes = {name: every.find(name).size for name in ("one-inch", "two-inch", "small-two-inch", "jp-visa", "kr-visa")}
    assert sizes == {
        "one-inch": (25, 35), "two-inch": (35, 49), "small-two-inch": (35, 45), "jp-visa": (45, 45), "kr-visa": (35, 45),
    }  # fmt: skip
    assert every.find("nl-child").checked
    assert {"white", "blue", "red", "grey"} <= set(every.colours)


def test_what_nobody_compared_with_its_source_has_no_date() -> None:
    checked = [each for each in presets.load_presets().preset if each.checked]
    assert len(checked) >= 13
    assert all(each.checked and each.checked.year >= 2026 for each in checked)


@pytest.mark.parametrize(
    ("spec", "pixels", "millimetres"),
    [
        (IdPhotoSpec((35, 45), "mm"), (413, 531), (35, 45)),
        (IdPhotoSpec((35, 45), "mm", 600), (827, 1063), (35, 45)),
        (IdPhotoSpec((413, 531), "px"), (413, 531), (35, 45)),
        (IdPhotoSpec((413, 531), "px", 600), (413, 531), (17.5, 22.5)),
        (IdPhotoSpec(dpi=600), (1200, 1200), (50.8, 50.8)),
    ],
)
def test_an_own_size_keeps_the_heads_share(
    spec: IdPhotoSpec, pixels: tuple[int, int], millimetres: tuple[float, float]
) -> None:
    usual = presets.load_presets().find("us-passport")
    preset = presets.apply_spec(usual, spec)
    assert (preset.pixels.width, preset.pixels.height) == pixels
    assert preset.millimetres == pytest.approx(millimetres, abs=0.05)
    assert preset.composition.head.low == pytest.approx(usual.composition.head.low, abs=1e-4)
    assert preset.composition.eyes.high == pytest.approx(usual.composition.eyes.high, abs=1e-4)


def test_sizes_are_read_as_people_write_them() -> None:
    assert presets.parse_size("35x45mm") == ((35, 45), "mm")
    assert presets.parse_size("413×531 px") == ((413, 531), "px")
    assert presets.parse_kilobytes("20-50") == (20, 50)
    assert presets.parse_kilobytes("50kB") == (0, 50)
    assert presets.parse_gap("2mm") == 2
    assert presets.parse_gap("0") == 0
    for read, wrong in (
        (presets.parse_size, "35x45"),
        (presets.parse_size, "3.5.1x4mm"),
        (presets.parse_kilobytes, "a-b"),
        (presets.parse_gap, "99"),
    ):
        with pytest.raises(UserError):
            read(wrong)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("us-passport", Size(600, 600)),
        ("us-visa-online", Size(1200, 1200)),
        ("de-passport", Size(413, 531)),
        ("ca-passport", Size(591, 827)),
        ("fi-passport", Size(500, 653)),
        ("cn-visa-online", Size(420, 560)),
    ],
)
def test_pixels_follow_from_millimetres_at_300_dpi(name: str, pixels: Size) -> None:
    assert presets.load_presets().find(name).pixels == pixels


def test_wrong_names_list_the_right_ones() -> None:
    every = presets.load_presets()
    with pytest.raises(UserError, match="us-passport"):
        every.find("us")
    with pytest.raises(UserError, match="10x15"):
        every.paper("a3")
    with pytest.raises(UserError, match="light-grey"):
        every.background_color(every.find("icao"), "pink")
    assert every.background_color(every.find("icao"), "#102030") == ("#102030", (16, 32, 48))
    assert every.background_color(every.find("fr-identity"), None)[0] == "light-grey"
