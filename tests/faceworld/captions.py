"""Captions of the face world: who is in a picture, and what the scene is."""

import numpy as np
from torch import Tensor

from tests.faceworld.world import BACKGROUNDS, BEARD, FRECKLES, GLASSES, SHIRTS, TRAITS, Scenes

HAIRS = ("black", "brown", "red", "blond", "white")
PLACES = (
    *("in front of a white wall", "in front of a red wall", "under a blue sky", "in a green field"),
    *("in the desert", "at night", "in a pink room", "on a grey street"),
)
"""By background."""
OPENINGS = ("a photo of", "a photo of", "a portrait of", "photo of")


def describe_person(traits: Tensor, random: np.random.Generator) -> str:
    """Some of a person's visible traits, in a fixed order."""
    trait = dict(zip(TRAITS, traits.tolist(), strict=True))
    length = "long " if trait["hair_length"] > 0.6 else "short " if trait["hair_length"] < 0.3 else ""
    phrases = [length + HAIRS[min(int(trait["hair"] * len(HAIRS)), len(HAIRS) - 1)] + " hair"]
    phrases += ["glasses"] if trait["glasses"] > GLASSES else []
    phrases += ["freckles"] if trait["freckles"] > FRECKLES else []
    phrases += ["a beard"] if trait["beard"] > BEARD else []
    phrases += ["dark skin"] if trait["skin"] > 0.7 else ["pale skin"] if trait["skin"] < 0.2 else []
    chosen = [word for word in phrases if random.random() < 0.7]
    return " with " + " and ".join(chosen) if chosen else ""


def describe_scene(scene: Scenes, number: int, random: np.random.Generator | None = None) -> list[str]:
    """The scene in phrases; with `random` each is kept nine times out of ten."""
    shirt = SHIRTS[int(scene.shirt[number])]
    phrases = [f"in {'an' if shirt[0] == 'o' else 'a'} {shirt} shirt", PLACES[int(scene.background[number])]]
    phrases += ["wearing a hat"] if scene.hat[number] else []
    phrases += ["smiling"] if scene.smile[number] else []
    return phrases if random is None else [phrase for phrase in phrases if random.random() < 0.9]


def caption(name: str, scene: Scenes, number: int) -> str:
    """The whole scene for one person: `name` is "a person", "sks person" …"""
    return ", ".join([f"a photo of {name}", *describe_scene(scene, number)])


def training_caption(name: str, traits: Tensor, scene: Scenes, number: int, random: np.random.Generator) -> str:
    """A random caption of a picture; `name` is empty for a person without one."""
    person = f"{name} person" if name else ("person" if random.random() < 0.15 else "a person")
    opening = OPENINGS[random.integers(len(OPENINGS))]
    description = describe_person(traits, random) if random.random() < 0.5 else ""
    return ", ".join([f"{opening} {person}{description}", *describe_scene(scene, number, random)])


def words() -> list[str]:
    """Every word that a caption can hold."""
    texts = [*OPENINGS, *PLACES, *BACKGROUNDS, *HAIRS, *(f"an {shirt} shirt" for shirt in SHIRTS)]
    texts += ["person with long short hair and glasses freckles a beard dark pale skin wearing a hat smiling"]
    return sorted({word for text in texts for word in text.split()})
