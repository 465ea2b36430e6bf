"""The options of a drawing: those of a style beside those of a request, the start of an edit, and what is refused."""

from dataclasses import replace

from pipelines.diffusion.sampling import controlnet, schedulers
from pipelines.diffusion.sampling.schedulers import SamplingPreset
from portrait.errors import UserError
from portrait.generation.edits import Edit
from portrait.generation.options import PHOTOMAKERS, GenerationOptions, PromptSpec
from portrait.generation.parameters import GenerationParameters, no_step
from portrait.generation.passes import check_strengths
from portrait.images.edit_canvas import EditCanvas


def with_style(options: GenerationOptions, spec: PromptSpec) -> GenerationOptions:
    """The options with a style's strengths where they give none."""
    strengths, share = {**spec.strengths, **options.strengths}, options.start_merge_step
    if share is None and options.strengths.keys().isdisjoint(PHOTOMAKERS):
        share = spec.start_merge_step
    return replace(options, strengths=strengths, start_merge_step=share)


def check(parameters: GenerationParameters, sampling: SamplingPreset) -> None:
    """Raise `UserError` (`bad_technique`, `bad_edit`) for options that do not exist, break a drawing, or would do nothing."""
    options = parameters.options
    check_strengths(options.strengths)
    share = options.start_merge_step
    if share is not None and not 0 <= share <= 1:
        raise UserError("bad_technique", f"start_merge_step is a share of the steps, 0 to 1, not {share:g}.")
    schedulers.check_guidance(sampling)
    if not parameters.steps_done:
        raise UserError("bad_edit", no_step(parameters.steps, parameters.strength))
    controlnet.check_windows(options.control_inputs, parameters.steps_done)


def start_from_canvas(parameters: GenerationParameters, edit: Edit, canvas: EditCanvas) -> GenerationParameters:
    """Parameters that start from an edit's picture; landmarks keep its face where it is."""
    options, size = parameters.options, parameters.size
    if edit.face is not None:
        options = replace(options, landmarks=canvas.to_drawing(edit.face, size))
    start, mask = canvas.crop_for_drawing(size), canvas.drawing_mask(size)
    prompt = f"{parameters.prompt}, {edit.extra_prompt}" if edit.extra_prompt else parameters.prompt
    return replace(parameters, prompt=prompt, options=options, start=start, mask=mask, strength=edit.strength)
