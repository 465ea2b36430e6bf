import pytest

from portrait.licences import commercial_use


@pytest.mark.parametrize(
    ("licence", "use"),
    [
        ("Apache-2.0", "yes"),
        (" MIT ", "yes"),
        ("CC0-1.0", "yes"),
        ("CC-BY-4.0", "yes"),
        ("CreativeML-OpenRAIL++-M", "yes"),
        ("CC-BY-NC-4.0", "no"),
        ("CC-BY-NC-SA-3.0", "no"),
        ("LicenseRef-InsightFace-non-commercial", "no"),
        ("LicenseRef-FLUX-Non-Commercial", "no"),
        ("LicenseRef-lab-research", "no"),
        ("CC-BY-ND-4.0", "ask"),
        ("LicenseRef-Stability-AI-Community", "ask"),
        ("LicenseRef-unknown", "ask"),
        ("GPL-3.0-only", "ask"),
        ("", "ask"),
    ],
)
def test_what_a_licences_name_says_of_commercial_use(licence: str, use: str) -> None:
    assert commercial_use(licence) == use


def test_what_was_agreed_on_is_allowed_by_its_exact_name() -> None:
    assert commercial_use("CC-BY-NC-4.0", {"CC-BY-NC-4.0"}) == "yes"
    assert commercial_use("CC-BY-NC-3.0", {"CC-BY-NC-4.0"}) == "no"
