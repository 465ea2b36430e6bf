import pytest

from pipelines.idphotos import presets
from portrait.arrays import Size
from portrait.errors import UserError


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
