"""SDEdit: a finished drawing is drawn once more by img2img at low strength (Meng and others, 2022), which adds fine detail.

By the base it is drawn with whoever is on it; by SDXL's refiner, as its model card calls it too, with nobody in particular.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.diffusion.sampling import generation_options, refiner
from pipelines.diffusion.sampling.plan import GenerationPlan
from portrait.errors import UserError
from portrait.generation.parameters import no_step

MOST = 0.6
"""Largest strength: with more of the steps it is another picture."""


def check_sdedit(plan: GenerationPlan) -> None:
    """Raise `UserError` (`bad_technique`) for a strength, model, scheduler or base with which nothing is drawn again."""
    options = plan.parameters.options
    if not 0 < options.sdedit <= MOST:
        raise UserError("bad_technique", f"SDEdit takes a strength of 0 to {MOST:g}, not {options.sdedit:g}.")
    if options.sdedit_model not in ("base", "refiner"):
        raise UserError("bad_technique", f"SDEdit draws with base or refiner, not with {options.sdedit_model!r}.")
    again = second_pass(plan, np.zeros((plan.parameters.size.height, plan.parameters.size.width, 3), np.float32))
    if not again.parameters.steps_done:
        sentence = no_step(again.parameters.steps, options.sdedit)
        raise UserError("bad_technique", f"Drawing once more: {sentence}")
    if again.redraws_by_refiner:
        refiner.check_model(plan.base, plan.scheduler)
    else:
        generation_options.check_supported(again.base, again.parameters, again.uses_controlnets)


def second_pass(plan: GenerationPlan, drawn: NDArray[np.float32]) -> GenerationPlan:
    """The plan of the second drawing, which begins from the first one, H×W×3, 0..1.

    It has noise of its own: the same noise twice in one place burns in.
    """
    parameters = plan.parameters
    seed = int(np.random.SeedSequence([parameters.seed, 1]).generate_state(1)[0])
    start = np.asarray((drawn * 255).round(), np.uint8)
    again = replace(parameters, seed=seed, start=start, strength=parameters.options.sdedit, until=1.0)
    return replace(plan, parameters=again, is_second_pass=True)
