"""Prompts: what is written is what is encoded, with and without weights."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from pipelines.diffusion.base import prompts
from pipelines.diffusion.base.family import TextEmbeddings
from pipelines.diffusion.base.loading import load_pipeline
from pipelines.diffusion.base.source import BaseSource


@pytest.fixture
def components(base: BaseSource) -> Mapping[str, Any]:
    return load_pipeline(base, torch.float32).components


@pytest.mark.parametrize(
    ("weighed", "plain"),
    [
        ("a portrait in C++ (light:1.0)", "a portrait in C++ light"),
        ("(a (red:1.0) suit:1.0)", "a red suit"),
        ("a man \\(smiling\\) - in a (studio:1)", "a man (smiling) - in a studio"),
        ('"a man".blend\\(1\\) in a (suit:1.0) \\[red\\]', '"a man".blend(1) in a suit [red]'),
    ],
)
def test_with_weights_of_one_the_same_words_are_encoded_as_without(
    base: BaseSource, components: Mapping[str, Any], weighed: str, plain: str
) -> None:
    encoded, _ = prompts.encode_prompts(base.family, components, weighed, "", 0)
    expected = base.family.encode(components, [plain])
    assert (encoded.hidden - expected.hidden).abs().max() < 1e-5
    if expected.pooled is not None and encoded.pooled is not None:
        assert torch.equal(encoded.pooled, expected.pooled)


def test_emphasis_is_a_weight_as_web_interfaces_have_it(base: BaseSource, components: Mapping[str, Any]) -> None:
    for emphasis, weight in (("(red)", "(red:1.1)"), ("((red))", "(red:1.21)"), ("[red]", "(red:0.9090909)")):
        one, _ = prompts.encode_prompts(base.family, components, f"a {emphasis} suit", "", 0)
        other, _ = prompts.encode_prompts(base.family, components, f"a {weight} suit", "", 0)
        plain, _ = prompts.encode_prompts(base.family, components, "a red suit", "", 0)
        assert (one.hidden - other.hidden).abs().max() < 1e-5
        assert (one.hidden - plain.hidden).abs().max() > 1e-4


def test_weights_in_weights_are_multiplied(base: BaseSource, components: Mapping[str, Any]) -> None:
    nested, other = prompts.encode_prompts(
        base.family, components, "(a (red:1.2) suit:1.5)", "(a:1.5) (red:1.8) (suit:1.5)", 0
    )
    assert (nested.hidden - other.hidden).abs().max() < 1e-5
    plain, _ = prompts.encode_prompts(base.family, components, "(a red suit:1.5)", "", 0)
    assert (nested.hidden - plain.hidden).abs().max() > 1e-3


def test_the_words_that_were_asked_for_last_are_kept() -> None:
    encoded: list[str] = []

    def ask(word: str) -> torch.Tensor:
        def encode() -> list[TextEmbeddings]:
            encoded.append(word)
            return [TextEmbeddings(torch.full((1, 2, 3), float(ord(word)), dtype=torch.bfloat16))]

        return cache.get(word, encode)[0].hidden

    cache = prompts.PromptCache(most=2)
    ask("a").zero_()
    assert ask("a").unique().item() == ord("a"), "what a request does to its copy is not seen by the next"
    for word in "babcba":
        assert ask(word).dtype == torch.bfloat16
    assert "".join(encoded) == "abca"
