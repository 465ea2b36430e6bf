"""Which weights a training run delivers: the best checkpoint, the last, or a merge; decided on held-out seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.diffusion.base.lora import Weights
from pipelines.diffusion.training import validation
from pipelines.diffusion.training.checkpoints import CheckpointStore
from pipelines.diffusion.training.loop import TrainingHistory, sampling
from pipelines.diffusion.training.merge_loras import merge
from pipelines.diffusion.training.run import TrainingRun
from pipelines.diffusion.training.step import Learner
from pipelines.diffusion.training.validation import Validator
from portrait.training import ValidationResult


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The weights that were selected."""

    name: str
    """`step 600`, `merge of steps 400, 500, 600`."""
    weights: Weights
    test_results: Mapping[str, ValidationResult]
    """Of every candidate, by name; empty where nothing was compared."""


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointSelection:
    """Compares the best checkpoint, the last one, and the best merged with its neighbours, on seeds no validation used."""

    run: TrainingRun
    store: CheckpointStore
    learner: Learner
    validator: Validator | None
    history: TrainingHistory

    def __call__(self) -> Selection:
        """The candidate nearest to the person; without a face to measure the last one, and a note that says so."""
        settings, results, last = self.run.settings.exam, self.history.validations, len(self.history.losses)
        if self.validator is None or not any(result.found for result in results):
            if settings.every:
                self.history.notes.append("No face could be measured in what was drawn: the last checkpoint was taken.")
            return Selection(f"step {last}", self.learner.get_weights(), {})
        best = validation.rank_results(results)[0].step
        if not settings.held_out:
            return Selection(f"step {best}", self.store.load_step(best), {})
        to_merge = validation.neighbours_to_merge(results, settings.best, self.validator.merge_tolerance)
        candidates = self._candidates(best, last, [result.step for result in to_merge])
        tested = self._test(self.validator, candidates)
        name = min(tested, key=lambda each: (tested[each].collapsed, tested[each].distance))
        return Selection(name, candidates[name], tested)

    def _candidates(self, best: int, last: int, to_merge: Sequence[int]) -> dict[str, Weights]:
        candidates = {f"step {step}": self.store.load_step(step) for step in dict.fromkeys([best, last])}
        if len(to_merge) > 1:
            loras = [self.store.load_step(step) for step in to_merge]
            steps = ", ".join(str(step) for step in to_merge)
            candidates[f"merge of steps {steps}"] = merge(loras, [1 / len(to_merge)] * len(to_merge))
        return candidates

    def _test(self, validator: Validator, candidates: Mapping[str, Weights]) -> dict[str, ValidationResult]:
        results = {}
        with sampling(self.run, self.learner) as generator:
            for number, (name, weights) in enumerate(candidates.items()):
                self.learner.load_weights(weights)
                report = self._report(number, len(candidates), name)
                results[name] = validator.test(generator, len(self.history.losses), report)
        return results

    def _report(self, number: int, count: int, name: str) -> Callable[[int, int], None]:
        progress = self.run.progress
        return lambda at, images: progress(number * images + at, count * images, f"Choosing by drawing with {name}")
