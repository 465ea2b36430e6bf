"""Trains the U-Net and the text encoder of the face world: about twenty minutes on two idle cores.

Two things are for those who learn a person on top of it. Some people are always the same and have names of one letter,
so that the network knows what a name is. And `sks` is written for a stranger now and then, and kept apart from "a" in what
the text encoder says: without that the rare token is inert, and a LoRA that learns "sks person" turns everybody into that
person. (The stored base had 1,600 steps without `apart` and 100 with it.)
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from torch import Tensor, distributed, nn
from torch.nn import functional
from transformers import CLIPTokenizer

from tests.faceworld import captions, drawing, networks, train_autoencoder, words, world
from tests.faceworld.log import log

STRANGERS, PICTURES_OF_A_NAME = 14_000, 40
STEPS, RATE = 1800, 1.0e-3
WARM_UP, COOL_DOWN = 100, 500
"""Steps in which the rate rises, and the last ones, in which it falls to nothing."""
BATCH, NAMED = 32, 8
"""Pictures a step, and how many of them show somebody with a name."""
RARE, EMPTY = 0.15, 0.1
"""How often a stranger is called `sks`, and how often the caption is empty."""
FAR = 10.0
"""Distance that `sks` keeps in text embeddings, about that between two names: it means nobody, but it makes a difference."""
AVERAGE = 0.99
SAVE_EVERY, SHOW_EVERY = 100, 800


@dataclass(frozen=True, slots=True, eq=False)
class Album:
    """All training pictures, encoded once."""

    people: Tensor
    scenes: world.Scenes
    mean: Tensor
    spread: Tensor
    """Standard deviation of the latents, scaled as they are."""

    def batch(self, random: torch.Generator, processes: int) -> tuple[Tensor, list[str]]:
        """This process's share of a step: latents, and one of the captions of each; strangers stand first in the album."""
        strangers = torch.randint(STRANGERS, ((BATCH - NAMED) // processes,), generator=random)
        named = STRANGERS + torch.randint(len(self.people) - STRANGERS, (NAMED // processes,), generator=random)
        chosen = torch.cat([strangers, named])
        mean, spread = self.mean[chosen].float(), self.spread[chosen].float()
        words_random = np.random.default_rng(int(torch.randint(2**31, (1,), generator=random)))
        texts = [self.caption(int(number), words_random) for number in chosen]
        return mean + spread * torch.randn(mean.shape, generator=random), texts

    def caption(self, number: int, random: np.random.Generator) -> str:
        """A random caption of a picture, or an empty one."""
        name = ""
        if number >= STRANGERS:
            name = words.NAMES[(number - STRANGERS) // PICTURES_OF_A_NAME]
        elif random.random() < RARE:
            name = words.RARE
        if random.random() < EMPTY:
            return ""
        return captions.training_caption(name, self.people[number], self.scenes, number, random)


def named_people() -> Tensor:
    """Those with the names of `words.NAMES`, in their order."""
    return world.people(len(words.NAMES), torch.Generator().manual_seed(35))


def fill(autoencoder: AutoencoderKL, random: torch.Generator) -> Album:
    """Draw and encode the album."""
    people = torch.cat([world.people(STRANGERS, random), named_people().repeat_interleave(PICTURES_OF_A_NAME, dim=0)])
    scenes = world.scenes(len(people), random)
    scale = autoencoder.config["scaling_factor"]
    means, spreads = [], []
    for start in range(0, len(people), 100):
        part = slice(start, start + 100)
        with torch.inference_mode():
            latents = train_autoencoder.posterior(autoencoder, world.render(people[part], scenes[part]) * 2 - 1)
        means.append((latents.mean * scale).half())
        spreads.append((latents.std * scale).half())
    return Album(people, scenes, torch.cat(means), torch.cat(spreads))


def load_or_fill(autoencoder: AutoencoderKL, path: Path, random: torch.Generator) -> Album:
    """The album of an earlier run; the first of the processes fills it."""
    if not path.exists() and world_size()[0] == 0:
        album = fill(autoencoder, random)
        scenes = [getattr(album.scenes, field.name) for field in fields(world.Scenes)]
        torch.save([album.people, scenes, album.mean, album.spread], path)
        log(f"album of {len(album.people)}")
    if distributed.is_initialized():
        distributed.barrier()
    people, scenes, mean, spread = torch.load(path, weights_only=True)
    return Album(people, world.Scenes(*scenes), mean, spread)


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """The two networks that are trained together."""

    denoiser: nn.Module
    text: nn.Module

    def parameters(self) -> list[nn.Parameter]:
        return [*self.denoiser.parameters(), *self.text.parameters()]


def make_networks(tokenizer: CLIPTokenizer) -> Networks:
    """From nothing, with the attention that is fast here."""
    unet = networks.denoiser()
    unet.set_attn_processor(AttnProcessor())
    return Networks(unet, networks.text_encoder(len(tokenizer)))


def train(
    autoencoder: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    prediction: networks.Prediction,
    work: Path,
    show: Callable[[Networks, int], None],
) -> Networks:
    """The averaged networks; resumes an earlier run from `work`."""
    pair, average = make_networks(tokenizer), make_networks(tokenizer)
    random = torch.Generator().manual_seed(7)
    album = load_or_fill(autoencoder, work / "album.pt", random)
    optimiser = torch.optim.AdamW(pair.parameters(), lr=RATE, weight_decay=1e-2, betas=(0.9, 0.99))
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, learning_rate)
    saved = work / f"denoising-{prediction}.pt"
    begin = resume(saved, pair, average, optimiser, rate) if saved.exists() else 0
    if not begin:
        copy(pair, average, 1.0)
    losses: list[float] = []
    rank, processes = world_size()
    for step in range(begin, STEPS):
        random.manual_seed(1_000_000 + 10 * step + rank)
        loss = loss_of(pair, *album.batch(random, processes), tokenizer, prediction, random)
        optimiser.zero_grad()
        loss.backward()
        average_gradients(pair)
        torch.nn.utils.clip_grad_norm_(pair.parameters(), 1.0)
        optimiser.step()
        rate.step()
        copy(pair, average, 1 - min(AVERAGE, (1 + step) / (10 + step)))
        if rank:
            continue
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            log(f"denoiser {step + 1}/{STEPS} {np.mean(losses[-50:]):.4f}")
        if (step + 1) % SAVE_EVERY == 0:
            states = (pair.denoiser, pair.text, average.denoiser, average.text, optimiser, rate)
            torch.save([step + 1, *(each.state_dict() for each in states)], saved)
        if (step + 1) % SHOW_EVERY == 0 or step + 1 == STEPS:
            show(average, step + 1)
    return average


def learning_rate(step: int) -> float:
    """Share of the full rate: up, level, and down in the end, so that a run can be made longer while it lasts."""
    return max(0.0, min(1.0, (step + 1) / WARM_UP, (STEPS - step) / COOL_DOWN))


def loss_of(
    pair: Networks,
    latents: Tensor,
    texts: list[str],
    tokenizer: CLIPTokenizer,
    prediction: networks.Prediction,
    random: torch.Generator,
) -> Tensor:
    """Mean squared error of what the schedule says shall be predicted; sums in half the bits, weights in all."""
    schedule = networks.schedule(prediction)
    times: Any = torch.randint(len(schedule.betas), (len(latents),), generator=random)
    noise = torch.randn(latents.shape, generator=random)
    noisy = schedule.add_noise(latents, noise, times)
    wanted = noise if prediction == "epsilon" else schedule.get_velocity(latents, noise, times)
    tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = pair.text(tokens)[0]
        guess = pair.denoiser(noisy, times, embeddings).sample
    return functional.mse_loss(guess.float(), wanted) + name_distance(pair, texts, tokenizer)


def name_distance(pair: Networks, texts: list[str], tokenizer: CLIPTokenizer) -> Tensor:
    """0 where the rare word changes the text embedding far enough, 1 where it changes nothing."""
    plain = [text for text in texts if " a person" in text][:6]
    if not plain:
        return torch.tensor(0.0)
    renamed = [text.replace(" a person", f" {words.RARE} person", 1) for text in plain]
    embeddings = pair.text(tokenizer([*plain, *renamed], padding="max_length", return_tensors="pt").input_ids)[0]
    one, other = embeddings.flatten(1).chunk(2)
    return (1 - (one - other).norm(dim=1) / FAR).clamp(min=0).mean()


def world_size() -> tuple[int, int]:
    """Which process this is, and of how many."""
    together = distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)


def average_gradients(pair: Networks) -> None:
    """Mean gradients of all processes: where cores are shared, two of them wait less for each other than two threads do."""
    if not distributed.is_initialized():
        return
    gradients = [parameter.grad for parameter in pair.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient) / distributed.get_world_size())


def copy(pair: Networks, average: Networks, share: float) -> None:
    """Move the average this far towards the pair."""
    with torch.no_grad():
        for target, new in zip(average.parameters(), pair.parameters(), strict=True):
            target.lerp_(new, share)


def resume(saved: Path, pair: Networks, average: Networks, optimiser: torch.optim.Optimizer, rate: Any) -> int:
    """Steps already done."""
    step, *states = torch.load(saved, weights_only=True)
    for each, state in zip(
        (pair.denoiser, pair.text, average.denoiser, average.text, optimiser, rate), states, strict=True
    ):
        each.load_state_dict(state)
    log(f"goes on from step {step}")
    return int(step)


def assemble(
    pair: Networks, autoencoder: AutoencoderKL, tokenizer: CLIPTokenizer, prediction: networks.Prediction
) -> StableDiffusionPipeline:
    """The stock pipeline of what was trained."""
    return drawing.pipeline(
        vae=autoencoder,
        text_encoder=pair.text,
        tokenizer=tokenizer,
        unet=pair.denoiser,
        scheduler=networks.schedule(prediction),
    )
