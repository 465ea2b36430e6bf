"""The tokenizer of the flow world, in Qwen's layout with a chat template: every word of a caption is one token."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer

from tests.faceworld import captions, words

LENGTH = 48
"""Tokens of a prompt, those of the template among them."""
END, PAD = "<|im_end|>", "<|endoftext|>"
SPECIAL = ("<|im_start|>", END, "<think>", "</think>")
TEMPLATE = (
    "{% for each in messages %}<|im_start|>{{ each.role }}\n{{ each.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""What a user says, and the beginning of an answer without thoughts: the form of Qwen3's."""


def build() -> Qwen2Tokenizer:
    """Make it of the words of all captions; the same at every call."""
    learner = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=1,
        show_progress=False,
        special_tokens=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learned.decoder = decoders.ByteLevel()
    inner = [f" {word}" for word in [*(each.strip(",") for each in captions.words()), words.RARE, *words.NAMES]]
    learned.train_from_iterator([*inner, "a", "photo", "portrait", "user", "assistant", "\n\n", ","] * 3, learner)
    model = json.loads(learned.to_str())["model"]
    merges = [tuple(each) for each in model["merges"]]
    return Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=merges,  # pyrefly: ignore[bad-argument-type] -- pairs, as the library reads them itself
        eos_token=END,
        pad_token=PAD,
        unk_token=PAD,
        additional_special_tokens=list(SPECIAL),
        chat_template=TEMPLATE,
        model_max_length=LENGTH,
        padding_side="right",
    )


def load(folder: Path) -> Qwen2Tokenizer:
    """Read what was saved."""
    return Qwen2Tokenizer.from_pretrained(folder)
