from portrait.idphoto_spec import IdPhotoSpec, spec_from_dict, spec_to_dict


def test_what_was_asked_is_read_from_a_recipe_as_it_was_written() -> None:
    for spec in (
        IdPhotoSpec(),
        IdPhotoSpec((35, 45), "mm", 600, (20, 50), "blue"),
        IdPhotoSpec((413, 531), "px"),
    ):
        assert spec_from_dict(spec_to_dict(spec)) == spec
    assert spec_to_dict(IdPhotoSpec()) == {}
    assert spec_from_dict(None) == IdPhotoSpec()
