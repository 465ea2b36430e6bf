import torch

from pipelines.diffusion.base.family import TextEmbeddings
from pipelines.engines.identities.photomaker import _merge_callback


def test_photos_are_merged_into_the_first_tokens_of_a_prompt_that_is_longer() -> None:
    tensors = {"prompt_embeds": torch.zeros(2, 2 * 77, 8), "add_text_embeds": torch.zeros(2, 4)}
    after = _merge_callback(TextEmbeddings(torch.ones(1, 77, 8), torch.ones(1, 4)), 1, guided=True)
    after(0, tensors)
    assert not tensors["prompt_embeds"].any(), "not before its step"
    after(1, tensors)
    assert tensors["prompt_embeds"][1, :77].all()
    assert not tensors["prompt_embeds"][1, 77:].any(), "the rest of the prompt stays"
    assert not tensors["prompt_embeds"][0].any(), "what speaks against the person stays"
    assert tensors["add_text_embeds"].sum(dim=1).tolist() == [0, 4]


def test_photos_are_merged_into_all_that_speaks_for_the_person() -> None:
    for rows, guided in ((3, True), (2, False), (1, False)):
        tensors = {"prompt_embeds": torch.zeros(rows, 77, 8), "add_text_embeds": torch.zeros(rows, 4)}
        _merge_callback(TextEmbeddings(torch.ones(1, 77, 8), torch.ones(1, 4)), 0, guided)(0, tensors)
        assert tensors["prompt_embeds"].any(dim=2).all(dim=1).tolist() == [row >= int(guided) for row in range(rows)]
