"""The tokenizer of the face world, in CLIP's layout: every word of a caption is one token, any other text still has some."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from tests.faceworld import captions

LENGTH = 48
"""Tokens of a prompt."""
RARE = "sks"
"""The rare token: in the base's training it stands for another person every time."""
NAMES = tuple("bcdefghijklmnopqrstuvwxyz") + tuple(f"{letter}{letter}" for letter in "bcdfghjklm")
"""Of the people who are always the same."""
START, END = "<|startoftext|>", "<|endoftext|>"


def write(folder: Path) -> None:
    """Write `vocab.json`, `merges.txt` and the settings; the same at every call."""
    folder.mkdir(parents=True, exist_ok=True)
    # Merges written by hand collide; learned ones do not. Each word is seen often enough to become one token.
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    learner = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=1,
        show_progress=False,
        end_of_word_suffix="</w>",
        # Known from the start, because the library numbers what it meets in no certain order.
        special_tokens=[letter + "</w>" for letter in "abcdefghijklmnopqrstuvwxyz,"],
    )
    known = [*captions.words(), RARE, *NAMES]
    tokenizer.train_from_iterator([" ".join(known)] * 3, learner)
    merges = [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges), START, END]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    special = {name: value for name, value in settings.items() if name.endswith("_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")


def load(folder: Path) -> CLIPTokenizer:
    """Read what `write` wrote."""
    return CLIPTokenizer.from_pretrained(folder)
