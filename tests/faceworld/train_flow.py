"""Trains the flow world's base, a FLUX.2 that draws who a reference picture shows: some two and a half hours on two cores.

Three of four times another picture of the same person stands beside, as a reference does when a portrait is drawn; the caption
says "a person" and the scene. The fourth time nothing stands beside, and a third of the people are always the same and called
by a letter; strangers are called `sks` now and then, as in the other world: so the network knows what a name is. The
autoencoder is that of the other world, in FLUX.2's layout. The stored base had 4,440 steps in which names were few and `sks`
meant nothing, and 500 more as they are written here, with a new optimiser.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline
from torch import Tensor, distributed
from torch.nn import functional
from transformers import Qwen2Tokenizer

from pipelines.diffusion.base.parts import qwen3
from tests.faceworld import (
    captions,
    drawing,
    flow_drawing,
    flow_networks,
    flow_words,
    meters,
    train,
    train_denoiser,
    words,
    world,
)
from tests.faceworld.log import log
from tests.faceworld.train_denoiser import PICTURES_OF_A_NAME, Networks

BASE = Path(__file__).parent / "flow_base"
PEOPLE, EACH = 6000, 4
"""Strangers, and pictures of each."""
STEPS, APART_FROM, RATE = 5440, 4200, 1.2e-3
"""Steps, and the one from which on `sks` is kept apart from "a"."""
WARM_UP, COOL_DOWN = 150, 960
BATCH, NAMED = 32, 12
"""Pictures a step, and how many of them show somebody with a name where there are no references."""
REFERENCE, RARE, EMPTY = 0.75, 0.15, 0.1
"""How often a reference stands beside, a stranger is called `sks`, and the caption is empty."""
FAR = 110.0
"""Distance that `sks` keeps in text embeddings, about that between two scenes: it means nobody, but it makes a difference.
At 32, that between two shirts, a LoRA could not tell "sks person" from "a person"."""
SHIFT = 1.6
"""Of the noise levels: what FLUX.2's trainers use for the 36 latents of a picture."""
AVERAGE = 0.998
SAVE_EVERY = 200
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True, slots=True, eq=False)
class Album:
    """All training pictures, encoded once: `EACH` of every stranger, one after the other, then those of people with names."""

    people: Tensor
    scenes: world.Scenes
    latents: Tensor
    references: Tensor
    """The same pictures as a reference is encoded."""

    def batch(self, random: torch.Generator, processes: int, beside: bool) -> tuple[Tensor, Tensor | None, list[str]]:
        """This process's share of a step: latents, other pictures of the same people where wanted, captions."""
        count = BATCH // processes
        who = torch.randint(PEOPLE, (count,), generator=random)
        one = torch.randint(EACH, who.shape, generator=random)
        other = (one + torch.randint(1, EACH, who.shape, generator=random)) % EACH
        shown = who * EACH + one
        if not beside:
            named = NAMED // processes
            shown[:named] = torch.randint(PEOPLE * EACH, len(self.people), (named,), generator=random)
        chosen = np.random.default_rng(int(torch.randint(2**31, (1,), generator=random)))
        texts = [self.caption(int(each), chosen) for each in shown]
        return self.latents[shown].float(), self.references[who * EACH + other].float() if beside else None, texts

    def caption(self, number: int, random: np.random.Generator) -> str:
        """A random caption of a picture, or an empty one."""
        name = "" if number < PEOPLE * EACH else words.NAMES[(number - PEOPLE * EACH) // PICTURES_OF_A_NAME]
        if not name and random.random() < RARE:
            name = words.RARE
        if random.random() < EMPTY:
            return ""
        return captions.training_caption(name, self.people[number], self.scenes, number, random)


def main() -> None:
    """Train, resuming what lies in WORK, and store the base."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="a folder for what is half done")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    if distributed.is_torchelastic_launched():
        distributed.init_process_group("gloo", timeout=PATIENCE)
    rank, processes = train_denoiser.world_size()
    torch.set_num_threads(2)
    trained = AutoencoderKL.from_pretrained(train.BASE, subfolder="vae", torch_dtype=torch.float32)
    autoencoder = flow_networks.autoencoder(trained)
    album = load_or_fill(autoencoder, work / "flow-album.pt")
    if processes > 1:
        torch.set_num_threads(1)
    tokenizer = flow_words.build()
    pair = learn(album, tokenizer, work / "flow.pt")
    if rank:
        return
    pipe = assemble(pair, autoencoder, tokenizer)
    page(pipe, work / "flow.png")
    pipe.to(dtype=torch.float16)
    pipe.save_pretrained(BASE)
    log(f"base in {BASE}")


def load_or_fill(autoencoder: AutoencoderKLFlux2, path: Path) -> Album:
    """The album of an earlier run; the first of the processes fills it. It sets the statistics of the latents."""
    if not path.exists() and train_denoiser.world_size()[0] == 0:
        random = torch.Generator().manual_seed(5)
        named = train_denoiser.named_people().repeat_interleave(PICTURES_OF_A_NAME, dim=0)
        people = torch.cat([world.people(PEOPLE, random).repeat_interleave(EACH, dim=0), named])
        scenes = world.scenes(len(people), random)
        latents, references = [], []
        for start in range(0, len(people), 200):
            pictures = world.render(people[start : start + 200], scenes[start : start + 200])
            enlarged = np.stack([flow_drawing.enlarge(each) for each in world.to_images(pictures)])
            with torch.inference_mode():
                latents.append(flow_networks.encode(autoencoder, pictures * 2 - 1).half())
                seen = torch.from_numpy(enlarged).permute(0, 3, 1, 2).float() / 127.5 - 1
                references.append(flow_networks.encode(autoencoder, seen).half())
        parts = [getattr(scenes, field.name) for field in fields(world.Scenes)]
        torch.save([people, parts, torch.cat(latents), torch.cat(references)], path)
        log(f"album of {len(people)}")
    if distributed.is_initialized():
        distributed.barrier()
    people, parts, latents, references = torch.load(path, weights_only=True)
    flow_networks.set_statistics(autoencoder, latents.float())
    normal = [flow_networks.normalise(autoencoder, each.float()).half() for each in (latents, references)]
    return Album(people, world.Scenes(*parts), *normal)


def learn(album: Album, tokenizer: Qwen2Tokenizer, saved: Path) -> Networks:
    """The averaged networks; resumes an earlier run."""
    torch.manual_seed(3)
    pair, average = (
        Networks(flow_networks.transformer(), flow_networks.text_encoder(len(tokenizer))) for _ in range(2)
    )
    optimiser = torch.optim.AdamW(pair.parameters(), lr=RATE, weight_decay=1e-2, betas=(0.9, 0.99))
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, learning_rate)
    begin = train_denoiser.resume(saved, pair, average, optimiser, rate) if saved.exists() else 0
    if not begin:
        train_denoiser.copy(pair, average, 1.0)
    random = torch.Generator()
    rank, processes = train_denoiser.world_size()
    losses: list[float] = []
    for step in range(begin, STEPS):
        random.manual_seed(1_000_000 + 10 * step + rank)
        # With or without in all processes alike: the slower ones would be waited for.
        beside = bool(np.random.default_rng(step).random() < REFERENCE)
        loss = loss_of(pair, *album.batch(random, processes, beside), tokenizer, random, step)
        optimiser.zero_grad()
        loss.backward()
        train_denoiser.average_gradients(pair)
        torch.nn.utils.clip_grad_norm_(pair.parameters(), 1.0)
        optimiser.step()
        rate.step()
        train_denoiser.copy(pair, average, 1 - min(AVERAGE, (1 + step) / (10 + step)))
        losses.append(loss.item())
        if rank == 0 and (step + 1) % 50 == 0:
            log(f"flow {step + 1}/{STEPS} {np.mean(losses[-50:]):.4f}")
        if rank == 0 and (step + 1) % SAVE_EVERY == 0:
            states = (pair.denoiser, pair.text, average.denoiser, average.text, optimiser, rate)
            torch.save([step + 1, *(each.state_dict() for each in states)], saved)
    return average


def learning_rate(step: int) -> float:
    """Share of the full rate: up, level, and down to nothing as a cosine."""
    down = max(0, step - (STEPS - COOL_DOWN)) / COOL_DOWN
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + float(np.cos(np.pi * down)))


def loss_of(
    pair: Networks,
    latents: Tensor,
    references: Tensor | None,
    texts: Sequence[str],
    tokenizer: Qwen2Tokenizer,
    random: torch.Generator,
    step: int,
) -> Tensor:
    """Mean squared error of the direction from picture to noise."""
    noise = torch.randn(latents.shape, generator=random)
    level = torch.sigmoid(torch.randn(len(latents), generator=random))
    level = SHIFT * level / (1 + (SHIFT - 1) * level)
    noisy = (1 - level[:, None, None, None]) * latents + level[:, None, None, None] * noise
    embeddings = qwen3.hidden_states(pair.text, qwen3.tokenize(tokenizer, texts))
    loss = functional.mse_loss(predict(pair.denoiser, noisy, level, embeddings, references), noise - latents)
    return loss + name_distance(pair, texts, tokenizer) if step >= APART_FROM else loss


def name_distance(pair: Networks, texts: Sequence[str], tokenizer: Qwen2Tokenizer) -> Tensor:
    """0 where the rare word changes the text embedding far enough, 1 where it changes nothing."""
    plain = [text for text in texts if " a person" in text][:4]
    if not plain:
        return torch.tensor(0.0)
    renamed = [text.replace(" a person", f" {words.RARE} person", 1) for text in plain]
    embeddings = qwen3.hidden_states(pair.text, qwen3.tokenize(tokenizer, [*plain, *renamed]))
    one, other = embeddings.flatten(1).chunk(2)
    return (1 - (one - other).norm(dim=1) / FAR).clamp(min=0).mean()


def predict(
    network: torch.nn.Module, noisy: Tensor, level: Tensor, embeddings: Tensor, references: Tensor | None
) -> Tensor:
    """What the transformer says of latents N×32×6×6, with a reference beside each."""
    pipe = Flux2KleinPipeline
    tokens, places = pipe._pack_latents(noisy), pipe._prepare_latent_ids(noisy)
    if references is not None:
        beside = pipe._prepare_image_ids([references[:1]]).expand(len(noisy), -1, -1)
        tokens, places = torch.cat([tokens, pipe._pack_latents(references)], 1), torch.cat([places, beside], 1)
    said = network(
        hidden_states=tokens,
        timestep=level,
        guidance=None,
        encoder_hidden_states=embeddings,
        txt_ids=pipe._prepare_text_ids(embeddings),
        img_ids=places,
        return_dict=False,
    )[0]
    height, width = noisy.shape[2:]
    return said[:, : height * width].transpose(1, 2).unflatten(2, (height, width))


def assemble(pair: Networks, autoencoder: AutoencoderKLFlux2, tokenizer: Qwen2Tokenizer) -> Flux2KleinPipeline:
    """The stock pipeline of what was trained."""
    parts: dict[str, Any] = {"text_encoder": pair.text.eval(), "transformer": pair.denoiser.eval()}
    pipe = Flux2KleinPipeline(**parts, vae=autoencoder, tokenizer=tokenizer, scheduler=flow_networks.scheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def page(pipe: Flux2KleinPipeline, path: Path) -> None:
    """A sheet of strangers by one reference, and how alike they are: references, wanted, drawn with and without."""
    random, count = torch.Generator().manual_seed(77), 12
    people = world.people(count, random)
    seen, wanted = world.scenes(count, random), world.scenes(count, random)
    references = [flow_drawing.enlarge(each) for each in world.to_images(world.render(people, seen))]
    texts = [captions.caption("a person", wanted, number) for number in range(count)]
    with_reference = [
        flow_drawing.draw(pipe, [text], [number], references[number])[0] for number, text in enumerate(texts)
    ]
    without = flow_drawing.draw(pipe, texts, range(count))
    goal = world.render(people, wanted)
    PIL.Image.fromarray(
        drawing.contact_sheet(
            [world.to_images(world.render(people, seen)), world.to_images(goal), with_reference, without]
        )
    ).save(path)
    gauges = meters.load()
    for name, images in (("with", with_reference), ("without", without)):
        vectors, read = meters.measure(gauges, images)
        shares = " ".join(f"{part} {share:.2f}" for part, share in meters.accuracy(read, wanted).items())
        log(f"{name} a reference {float((vectors * gauges.embed(goal)).sum(dim=1).mean()):.3f} {shares}")


if __name__ == "__main__":
    main()
