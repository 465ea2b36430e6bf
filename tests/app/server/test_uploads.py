"""Bounds of uploads: of one visitor and of all, those that are on their way included."""

from app.server.uploads import UploadLimits, Uploads, held_bytes, session_cookies


def test_what_is_on_its_way_counts_until_it_has_arrived() -> None:
    held: dict[str, int] = {}
    uploads = Uploads(UploadLimits(visitor=100, all=250), lambda: held)
    with uploads.reserve("page", "ann", 60) as first, uploads.reserve("other page", "ann", 60) as second:
        assert (first, second) == (True, False)
        held["page"] = 60
    with uploads.reserve("page", "ann", 41) as third:
        assert not third
    with uploads.reserve("page", "ann", 40) as third:
        assert third


def test_pages_of_one_visitor_count_together_until_they_are_closed() -> None:
    held: dict[str, int] = {}
    uploads = Uploads(UploadLimits(visitor=100, all=250), lambda: held)
    for page in ("one", "two"):
        with uploads.reserve(page, "ann", 50) as fits:
            held[page] = 50
            assert fits
    with uploads.reserve("three", "ann", 1) as fits:
        assert not fits
    with uploads.reserve("bens", "ben", 100) as fits:
        assert fits
    del held["one"]
    with uploads.reserve("three", "ann", 50) as fits:
        assert fits


def test_all_together_are_bounded() -> None:
    uploads = Uploads(UploadLimits(visitor=100, all=250), lambda: {"a": 100, "b": 100})
    with uploads.reserve("c", "cleo", 50) as first, uploads.reserve("d", "dan", 1) as second:
        assert (first, second) == (True, False)


def test_without_streamlit_nothing_is_held() -> None:
    assert held_bytes() == {}
    assert session_cookies("page") is None
