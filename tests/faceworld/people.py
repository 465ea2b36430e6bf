"""Strangers to train on: a training set of eight pictures, other scenes for tests, and measurements of generated images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from portrait.arrays import Image
from portrait.faces import likeness
from portrait.types import Crop, Quality, Reference, TrainingSet
from tests.faceworld import captions, meters, words, world
from tests.faceworld.meters import Meters

PICTURES, UNSEEN, OTHERS = 8, 16, 200
"""Pictures of a training set; test scenes; other people to compare with."""
SOMEBODY = 100_000
"""Seeds of test people begin here, far from those of training."""


@dataclass(frozen=True, slots=True, eq=False)
class Stranger:
    """A person unknown to the base, with the scenes of the training set and of the test."""

    traits: Tensor
    """20."""
    training_scenes: world.Scenes
    test_scenes: world.Scenes
    """No shirt stands here before a background where it stood in `training_scenes`."""
    vector: Tensor
    """The mean of the person's embeddings, at length 1."""
    others: Tensor
    """`OTHERS`×32, the same of other people."""

    def pictures(self) -> list[Image]:
        """The pictures of the training set."""
        return world.to_images(world.render(self.traits.expand(len(self.training_scenes), -1), self.training_scenes))

    def prompts(self, name: str) -> list[str]:
        """Prompts of `name` in each of the test scenes."""
        return [captions.caption(name, self.test_scenes, number) for number in range(len(self.test_scenes))]


@dataclass(frozen=True, slots=True)
class Measurements:
    """Means over the images generated of one stranger."""

    similarity: float
    """To the stranger: 1 the same, about 0 a stranger."""
    nearest: float
    """Share of drawings nearer to the stranger than to all of the `OTHERS`."""
    rank: float
    """Median place of the stranger among all of them; 1 is the nearest."""
    place: int
    """Place of the stranger for the mean of all drawings."""
    background: float
    """Shares, 0..1, of drawings that show what the prompt said."""
    shirt: float
    hat: float


def make_stranger(seed: int, gauges: Meters) -> Stranger:
    """The stranger of this number."""
    random = torch.Generator().manual_seed(SOMEBODY + seed)
    traits = world.people(1, random)[0]
    training_scenes = world.scenes(PICTURES, random)
    used = set(zip(training_scenes.background.tolist(), training_scenes.shirt.tolist(), strict=True))
    many = world.scenes(UNSEEN * 4, random)
    pairs = zip(many.background.tolist(), many.shirt.tolist(), strict=True)
    fresh = [number for number, pair in enumerate(pairs) if pair not in used][:UNSEEN]
    vectors = _vectors(torch.cat([traits[None], world.people(OTHERS, random)]), gauges, random)
    return Stranger(traits, training_scenes, many[torch.tensor(fresh)], vectors[0], vectors[1:])


def _vectors(people: Tensor, gauges: Meters, random: torch.Generator) -> Tensor:
    """Each one's mean embedding over eight scenes."""
    each = 8
    pictures = world.render(people.repeat_interleave(each, dim=0), world.scenes(len(people) * each, random))
    mean = gauges.embed(pictures).reshape(len(people), each, -1).mean(dim=1)
    return torch.nn.functional.normalize(mean, dim=1)


def training_set(who: Stranger, gauges: Meters) -> TrainingSet:
    """As preparing selfies would leave it, every caption with the scene."""
    finder = meters.Finder(gauges)
    images = who.pictures()
    name = f"{words.RARE} person"
    crops = tuple(
        Crop(image, captions.caption(name, who.training_scenes, number), f"{number}.png")
        for number, image in enumerate(images)
    )
    fine = Quality(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    faces = [finder.faces(image)[0] for image in images]
    references = tuple(
        Reference(f"{number}.png", image, face, fine)
        for number, (image, face) in enumerate(zip(images, faces, strict=True))
    )
    mean = likeness.mean_embedding(meters.SPACE, [face.embeddings[meters.SPACE] for face in faces])
    return TrainingSet(crops, references, {meters.SPACE: mean}, (), words.RARE, "person")


def measure(images: Sequence[Image], who: Stranger, gauges: Meters) -> Measurements:
    """How near the drawings of `who.prompts` come to the stranger and to the scenes."""
    vectors, read = meters.measure(gauges, images)
    similar = vectors @ who.vector
    places = 1 + ((vectors @ who.others.T) > similar[:, None]).sum(dim=1)
    middle = vectors.mean(dim=0)
    shares = meters.accuracy(read, who.test_scenes)
    return Measurements(
        similarity=float(similar.mean()),
        nearest=float((places == 1).float().mean()),
        rank=float(places.float().median()),
        place=1 + int(((who.others @ middle) > who.vector @ middle).sum()),
        background=shares["background"],
        shirt=shares["shirt"],
        hat=shares["hat"],
    )
