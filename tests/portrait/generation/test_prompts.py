"""What a prompt says beside its words: emphasis, LoRAs, embeddings; all else is words."""

import pytest

from portrait.errors import UserError
from portrait.generation import prompts
from portrait.generation.options import LoraChoice


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a (red suit:1.2) b", [("a ", 1.0), ("red suit", 1.2), (" b", 1.0)]),
        ("(a (b:1.2) c:1.5)", [("a ", 1.5), ("b", 1.2 * 1.5), (" c", 1.5)]),
        ("(a)", [("a", 1.1)]),
        ("((a))", [("a", 1.1 * 1.1)]),
        ("[a] b", [("a", 1 / 1.1), (" b", 1.0)]),
        ("[[a]]", [("a", 1 / 1.1 / 1.1)]),
        ("([a:1.3])", [("[a:1.3]", 1.1)]),
        ("((b):2)", [("b", 1.1 * 2)]),
        ("(a:.5)", [("a", 0.5)]),
        ("(a:1.5)(b:1.5) c", [("ab", 1.5), (" c", 1.0)]),
        (r"a \(b\) (c\):1.2)", [("a (b) ", 1.0), ("c)", 1.2)]),
        (r"\[a\] \\", [("[a] \\", 1.0)]),
        ("a (b) and C++, (c", [("a ", 1.0), ("b", 1.1), (" and C++, (c", 1.0)]),
        ("b) at 12:30 (:1.2) ()", [("b) at 12:30 (:1.2) ()", 1.0)]),
        ("[a:b:0.5] [a|b]", [("[a:b:0.5] [a|b]", 1.0)]),
        ("a- b++ (c)+", [("a- b++ ", 1.0), ("c", 1.1), ("+", 1.0)]),
        ("", []),
    ],
)
def test_emphasis_is_read_and_all_else_is_words(text: str, parts: list[prompts.Part]) -> None:
    read = prompts.parse_weights(text)
    assert [words for words, _ in read] == [words for words, _ in parts]
    assert [weight for _, weight in read] == pytest.approx([weight for _, weight in parts])
    assert prompts.strip_weights(text) == "".join(words for words, _ in parts)


def test_prompts_of_recipes_keep_plain_signs_as_words() -> None:
    old = "a (b) [c] (d:1.2) ((e):1.5) f)"
    read = prompts.parse_weights(prompts.escape_plain(old))
    assert read == [("a (b) [c] ", 1.0), ("d", 1.2), (" ", 1.0), ("(e)", 1.5), (" f)", 1.0)]
    assert prompts.parse_weights(prompts.escape_plain("a (b")) == [("a (b", 1.0)]


@pytest.mark.parametrize(
    ("text", "words", "choices"),
    [
        ("a man, <lora:film_look:0.7>, smiling", "a man, smiling", [LoraChoice("film_look", 0.7)]),
        ("<lora:a> man", "man", [LoraChoice("a")]),
        ("man <lora:a:0.5:0.8> <lora:b:-1>", "man", [LoraChoice("a", 0.8, 0.5), LoraChoice("b", -1.0)]),
        ("man <lora:a:te=0:unet=.3>", "man", [LoraChoice("a", 0.3, 0.0)]),
        ("man <LoRA:a:0.5:lbw=1,0,.5>", "man", [LoraChoice("a", 0.5, None, (1.0, 0.0, 0.5))]),
        ("a <sks> man ,  <other:1>", "a <sks> man ,  <other:1>", []),
    ],
)
def test_loras_are_taken_out_of_the_words(text: str, words: str, choices: list[LoraChoice]) -> None:
    assert prompts.take_loras(text) == (words, tuple(choices))


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("<lora:a:much>", "bad_lora_tag", "'much' is no number"),
        ("<lora:a:nan>", "bad_lora_tag", "strengths lie between"),
        ("<lora:a:1:1:1>", "bad_lora_tag", "more than two strengths"),
        ("<lora:a:dyn=4>", "bad_lora_tag", "dyn= is not read"),
        ("<lora:a> <lora:a:0.5>", "bad_lora_tag", "names a LoRA twice"),
        ("".join(f"<lora:l{number}>" for number in range(9)), "bad_lora_tag", "8 are the most"),
        ("<lora:a:1:lbw=1,x>", "bad_blocks", "no list of block weights"),
        ("<lora:a:1:lbw=1,9>", "bad_blocks", "lie between"),
    ],
)
def test_a_lora_that_cannot_be_read_is_told(text: str, code: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        prompts.take_loras(text)
    assert caught.value.code == code


def test_embeddings_are_named_as_words_or_in_angle_brackets() -> None:
    names = ["easy", "photo"]
    assert prompts.named_embeddings("a <Easy>, easy-going photos", names) == ["easy"]
    assert prompts.named_embeddings("uneasy, <easy2>, photo.", names) == ["photo"]
    assert prompts.put_embeddings("<Easy>, easy", {"easy": "<e_0> <e_1>"}) == " <e_0> <e_1> ,  <e_0> <e_1> "
