"""The streams of random numbers that recipes and lessons depend on: how each is seeded, and what is drawn from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Seeded = Callable[[Any], np.random.Generator]
GRAIN = ("standard_normal", (6, "float32"))


@dataclass(frozen=True)
class Stream:
    """One use of random numbers: the draws are made in order from one generator."""

    use: str
    seed: int | Sequence[int]
    draws: Sequence[tuple[str, Sequence[Any]]]

    def numbers(self, seeded: Seeded) -> list[list[float]]:
        """What is drawn, by a generator that is seeded so."""
        random = seeded(self.seed)
        return [np.ravel(getattr(random, method)(*given)).tolist() for method, given in self.draws]

    def to_dict(self) -> dict[str, Any]:
        """As the fixtures keep it."""
        return {"seed": self.seed, "draws": self.draws, "numbers": self.numbers(np.random.default_rng)}


def all_streams() -> list[Stream]:
    """The streams that NumPy gives; seeds as the program makes them of a recipe's seed 11 or a lesson's seed 0."""
    scenery = [
        ("uniform", (-0.04, 0.04)), ("uniform", (0, 1, [3, 2])), ("random", ()), ("normal", (0, 0.75, 4)),
        ("beta", (1.5, 2.4, 4)), ("pareto", (1.6,)), ("integers", (6,)), ("standard_normal", ([2, 3],)), GRAIN,
    ]  # fmt: skip
    return [
        Stream("a backdrop", (11, 6), scenery),
        Stream("the grain of a studio portrait", 11, [GRAIN]),
        Stream(
            "variations of a face in a picture",
            11,
            [("uniform", (0.45, 0.95)), ("uniform", (0.88, 1.08)), ("integers", (2**31,))],
        ),
        Stream("the grain of a face in a picture", 1_234_567_890, [GRAIN]),
        Stream("the order of photos in a lesson", (0, 1), [("permutation", (7,)), ("permutation", (3,))]),
        Stream("other people in a lesson", (0, 5, 1), [("integers", (0, 100, 4))]),
        Stream("subsets of pictures that are compared", 0, [("choice", (12, 5, False))]),
    ]


def sequences() -> dict[str, int]:
    """Seeds that are made of several numbers: of a candidate's seed, a face and a pass; of a lesson's seed and a step."""
    return {
        "a pass into a picture": int(np.random.SeedSequence((11, 1, 0)).generate_state(1)[0]),
        "a step of a lesson": int(np.random.SeedSequence((0, 5)).generate_state(1, np.uint64)[0]),
    }


def noise() -> dict[str, list[float]]:
    """The first numbers of PyTorch's streams: noise of a drawing, chance in a step of a lesson, a LoRA before its lesson."""
    import torch

    drawing = torch.Generator("cpu").manual_seed(11)
    step = torch.Generator("cpu").manual_seed(sequences()["a step of a lesson"] % 2**63)
    found = {
        "noise of a drawing": torch.randn((1, 4, 8, 8), generator=drawing),
        "mirrored or not in a step": torch.randint(0, 2, (), generator=step),
        "noise of a step": torch.randn((1, 4, 8, 8), generator=step),
        "times of a step": torch.randint(0, 1000, (4,), generator=step),
        "captions of a step": torch.rand(4, generator=step),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        found["a LoRA before its lesson"] = torch.empty(4, 16).normal_(std=0.25)
    return {use: each.flatten()[:6].tolist() for use, each in found.items()}
