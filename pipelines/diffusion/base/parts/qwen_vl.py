"""Qwen2.5-VL as a text encoder: a prompt in the template that Qwen-Image was trained with, and its last hidden states."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from pipelines.diffusion.base.device import execution_device

TEMPLATE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
TEMPLATE_TOKENS = 34
"""Of the template before the prompt, which the denoiser does not see."""
MOST_TOKENS = 1024
"""Of a prompt with what follows it in the template."""
LONGEST = MOST_TOKENS + TEMPLATE_TOKENS
"""Tokens of a whole text."""
IMAGE_TOKEN, VIDEO_TOKEN = "<|image_pad|>", "<|video_pad|>"


def tokenize(tokenizer: Any, captions: Sequence[str]) -> Mapping[str, torch.Tensor]:
    """Token ids and attention mask N×length of captions in the template; an empty one is a space, as in its training."""
    texts = [TEMPLATE.format(caption or " ") for caption in captions]
    return tokenizer(texts, max_length=LONGEST, padding=True, truncation=True, return_tensors="pt")


def count_unread(tokenizer: Any, prompt: str) -> int:
    """Tokens at the end of a prompt in its template that `tokenize` cuts off."""
    return max(0, len(tokenizer(TEMPLATE.format(prompt)).input_ids) - LONGEST)


def hidden_states(encoder: Any, tokens: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The last states N×length×width without those of the template, and their mask N×length; None where all count."""
    where = execution_device(encoder)
    mask = tokens["attention_mask"].to(where).bool()
    output = encoder(
        input_ids=tokens["input_ids"].to(where),
        attention_mask=tokens["attention_mask"].to(where),
        output_hidden_states=True,
        use_cache=False,
        logits_to_keep=1,  # of the words that would follow
    )
    hidden, mask = output.hidden_states[-1][:, TEMPLATE_TOKENS:], mask[:, TEMPLATE_TOKENS:]
    # Padding follows the words. Its states are zero as in the stock pipelines.
    return hidden * mask[:, :, None], None if bool(mask.all()) else mask


class Qwen2VLProcessor(transformers.Qwen2VLProcessor):
    """The processor of texts with pictures, without its half for videos, which cannot be built without torchvision."""

    # A hub folder that is written with it names the class that others have.
    __module__ = transformers.Qwen2VLProcessor.__module__

    @classmethod
    def get_attributes(cls) -> list[str]:
        """What it is made of, by which transformers loads and saves it."""
        return ["image_processor", "tokenizer"]

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str | None = None, **others: Any) -> None:
        self.image_token, self.video_token = IMAGE_TOKEN, VIDEO_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.video_token_id = tokenizer.convert_tokens_to_ids(VIDEO_TOKEN)
        transformers.ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def load_processor(folder: Path) -> Qwen2VLProcessor:
    """The processor of a folder `processor`; raises OSError and ValueError for what cannot be read."""
    return Qwen2VLProcessor.from_pretrained(str(folder), local_files_only=True)
