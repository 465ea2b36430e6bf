"""Trains the face world's base and meters: fills `base/` and `meters.safetensors`; resumes from its work folder."""

import argparse
from datetime import timedelta
from pathlib import Path

import PIL.Image
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from torch import distributed

from tests.faceworld import captions, drawing, meters, train_autoencoder, train_denoiser, train_meters, words, world
from tests.faceworld.log import log
from tests.faceworld.train_denoiser import Networks

HERE = Path(__file__).parent
BASE = HERE / "base"
THREADS = 2
"""Of the networks that are trained alone; the denoiser has a thread in each process."""
PATIENCE = timedelta(hours=6)
"""How long the other processes wait for the first, which trains the autoencoder and the meters."""


def main() -> None:
    """The autoencoder, the meters, the denoiser, in this order; each that lies in WORK already is not trained again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="a folder for what is half done")
    parser.add_argument("--prediction", choices=("v_prediction", "epsilon"), default="v_prediction")
    parser.add_argument("--base", type=Path, default=BASE, help="where the diffusers folder goes")
    arguments = parser.parse_args()
    if distributed.is_torchelastic_launched():
        distributed.init_process_group("gloo", timeout=PATIENCE)
    rank, processes = train_denoiser.world_size()
    torch.set_num_threads(THREADS)
    arguments.work.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        measure(see(arguments.work), arguments.work)
        words.write(arguments.work / "tokenizer")
    if processes > 1:
        distributed.barrier()
        torch.set_num_threads(1)
    autoencoder, tokenizer = see(arguments.work), words.load(arguments.work / "tokenizer")

    def show(pair: Networks, step: int) -> None:
        pipe = train_denoiser.assemble(pair, autoencoder, tokenizer, arguments.prediction)
        page(
            pipe,
            meters.load(arguments.work / "meters.safetensors"),
            arguments.work / f"{arguments.prediction}-{step:05}.png",
        )

    torch.manual_seed(3)
    pair = train_denoiser.train(autoencoder, tokenizer, arguments.prediction, arguments.work, show)
    if rank:
        return
    pipe = train_denoiser.assemble(pair, autoencoder, tokenizer, arguments.prediction)
    pipe.to(dtype=torch.float16)
    pipe.save_pretrained(arguments.base, safe_serialization=True)
    words.write(arguments.base / "tokenizer")
    (HERE / "meters.safetensors").write_bytes((arguments.work / "meters.safetensors").read_bytes())
    log(f"base in {arguments.base}")


def see(work: Path) -> AutoencoderKL:
    """The autoencoder, in the precision it is stored in."""
    folder = work / "vae"
    if not folder.exists():
        torch.manual_seed(1)
        train_autoencoder.train(torch.Generator().manual_seed(1)).half().save_pretrained(folder)
    network = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)
    return network.requires_grad_(False).eval()


def measure(autoencoder: AutoencoderKL, work: Path) -> None:
    """The meters."""
    path = work / "meters.safetensors"
    if not path.exists():
        torch.manual_seed(2)
        meters.save(train_meters.train(autoencoder, torch.Generator().manual_seed(2)), path)


def page(pipe: StableDiffusionPipeline, gauges: meters.Meters, path: Path) -> None:
    """A contact sheet of named people and strangers, and how well they match their captions."""
    random = torch.Generator().manual_seed(11)
    scenes = world.scenes(48, random)
    names = [f"{words.NAMES[number // 4 * 4]} person" for number in range(24)] + ["a person"] * 24
    prompts = [captions.caption(name, scenes, number) for number, name in enumerate(names)]
    images = drawing.draw(pipe, prompts, range(48))
    PIL.Image.fromarray(drawing.contact_sheet([images[row : row + 12] for row in range(0, 48, 12)])).save(path)
    named = train_denoiser.named_people()[[number // 4 * 4 for number in range(24)]]
    wanted = gauges.embed(world.render(named, scenes[:24]))
    embeddings, read = meters.measure(gauges, images)
    alike = (embeddings[:24] * wanted).sum(dim=1).mean().item()
    accuracy = " ".join(f"{name} {share:.2f}" for name, share in meters.accuracy(read, scenes).items())
    log(f"named {alike:.2f} {accuracy}")


if __name__ == "__main__":
    main()
