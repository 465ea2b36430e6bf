"""The options of a drawing: those of a style beside those of a request, the start of an edit, and what is refused."""

import inspect
from collections.abc import Sequence
from dataclasses import replace

from pipelines.diffusion.base.loading import sampling_facts
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import controlnet, img2img, schedulers
from pipelines.model_requirements import IDENTITY_MODELS
from pipelines.model_store.store import ModelStore
from portrait.errors import UserError
from portrait.generation.abilities import check_options
from portrait.generation.edits import Edit
from portrait.generation.options import PHOTOMAKERS, GenerationOptions, ImagePrompt, PromptSpec
from portrait.generation.parameters import GenerationParameters, no_step
from portrait.generation.passes import check_strengths
from portrait.generation.prompts import take_loras
from portrait.generation.sampling_facts import SamplingFacts, SamplingPreset
from portrait.images.edit_canvas import EditCanvas
from portrait.images.reference_pictures import fit_picture
from portrait.types import PortraitRequest

START_NAMES = {"text": "words", "image": "a picture", "inpaint": "a part of a picture"}
"""What a drawing begins from, by task."""


SKIP_LAYER_STEPS = 6
"""Steps from which on skip-layer guidance acts in one of them."""


def with_style(options: GenerationOptions, spec: PromptSpec) -> GenerationOptions:
    """The options with a style's strengths and look where they give none."""
    strengths, share = {**spec.strengths, **options.strengths}, options.start_merge_step
    if share is None and options.strengths.keys().isdisjoint(PHOTOMAKERS):
        share = spec.start_merge_step
    look = options.look
    if look is None and spec.look_adapter and spec.look_picture is not None:
        look = ImagePrompt(spec.look_picture, spec.look_adapter, spec.look_scale)
    return replace(options, strengths=strengths, start_merge_step=share, look=look)


def with_sentence(spec: PromptSpec, base: BaseSource) -> PromptSpec:
    """What a style says to a base: its prompt of sentences takes the place of the other one where a language model reads it."""
    return replace(spec, prompt=spec.sentence) if base.family.abilities.sentences and spec.sentence else spec


def with_few_steps(
    options: GenerationOptions, spec: PromptSpec, base: BaseSource, models: ModelStore
) -> tuple[GenerationOptions, SamplingFacts]:
    """The options with the LoRA of few steps, asked for or among the style's, and how it on the base wants to be sampled.

    Raises `OperatorError` (`unknown_model`, `bad_manifest`), `UserError` (`bad_technique`, `wrong_family`).
    """
    worn = (each.model for each in spec.loras if models.find(each.model).facts.get("steps"))
    name = options.few_steps or next(worn, "")
    if not name:
        return options, base.facts
    model = models.find(name)
    facts, family = sampling_facts(model), base.family.name
    if model.kind != "lora" or not facts.steps:
        known = [each.name for each in models.of_kind("lora") if each.facts.get("steps")]
        raise UserError(
            "bad_technique", f"{name} is no LoRA that draws in few steps. Choose one of: {', '.join(known)}."
        )
    if model.family not in ("", family):
        raise UserError(
            "wrong_family", f"{name} draws in few steps on {model.family}, and {base.name} is {family}: leave it out."
        )
    if base.facts.steps:
        raise UserError(
            "bad_technique",
            f"{base.name} draws in {base.facts.steps} steps by itself: leave {name} out, or choose another base.",
        )
    return replace(options, few_steps=name), base.facts.updated(facts)


def check(parameters: GenerationParameters, sampling: SamplingPreset) -> None:
    """Raise `UserError` (`bad_technique`, `bad_edit`) for options that do not exist, break a drawing, or would do nothing."""
    options, facts = parameters.options, parameters.facts
    check_strengths(options.strengths)
    if not 0 <= options.guidance_rescale <= 1:
        raise UserError("bad_technique", f"guidance_rescale is a share, 0 to 1, not {options.guidance_rescale:g}.")
    if facts.steps and (options.refiner or (options.sdedit and options.sdedit_model == "refiner")):
        raise UserError(
            "bad_technique",
            f"{options.few_steps or options.base} draws in few steps, and the refiner goes on from many: leave one out.",
        )
    share = options.start_merge_step
    if share is not None and not 0 <= share <= 1:
        raise UserError("bad_technique", f"start_merge_step is a share of the steps, 0 to 1, not {share:g}.")
    if options.skip_layer_guidance:
        _check_skip_layers(parameters)
    schedulers.check_guidance(sampling, options.few_steps or options.base)
    if not parameters.steps_done:
        raise UserError("bad_edit", no_step(parameters.steps, parameters.strength))
    controlnet.check_windows(options.control_inputs, parameters.steps_done)


def _check_skip_layers(parameters: GenerationParameters) -> None:
    """Raise `UserError` (`bad_technique`) where skip-layer guidance would do nothing: it acts in the second step to a fifth."""
    if parameters.guidance <= parameters.guided_above:
        raise UserError(
            "bad_technique", "Skip-layer guidance goes with guidance: ask for more than 1, or leave it out."
        )
    if parameters.steps < SKIP_LAYER_STEPS:
        raise UserError(
            "bad_technique",
            f"Skip-layer guidance acts from the second step on in the first fifth of them: take {SKIP_LAYER_STEPS} steps or "
            "more, or leave it out.",
        )


def check_abilities(base: BaseSource, options: GenerationOptions, prompts: Sequence[str]) -> None:
    """Raise `UserError` (`bad_technique`) for options, or weights in prompts, that bases of its family do not know."""
    windows = [(each.start, each.end) for each in options.control_inputs]
    check_options(f"{base.name} ({base.family.name})", base.family.abilities, options, prompts, windows)


def check_supported(base: BaseSource, parameters: GenerationParameters, controlled: bool) -> None:
    """Raise `UserError` (`bad_technique`) for what no stock pipeline does, or guidance that the one of a drawing does not know.

    `controlled`: with control networks.
    """
    img2img.check_supported(base, parameters, controlled)
    if base.family.reads_references and not (parameters.references or "reference" in parameters.options.identities):
        raise UserError(
            "bad_technique",
            f"{base.name} ({base.family.name}) draws from pictures: show who by reference photos, or choose another base for "
            "words alone.",
        )
    if parameters.start is not None and not parameters.steps_done:
        return  # through the VAE and back
    kind = parameters.task, controlled, parameters.options.perturbed > 0
    pipeline = base.family.pipelines.get(kind, base.family.pipeline)
    drawing = f"{'controls' if controlled else 'no controls'} and a drawing from {START_NAMES[parameters.task]}"
    if (
        parameters.options.guidance_rescale
        and "guidance_rescale" not in inspect.signature(pipeline.__call__).parameters
    ):
        raise UserError(
            "bad_technique",
            f"guidance_rescale does not go with {drawing} on {base.name} ({base.family.name}): leave it out.",
        )
    taken = inspect.signature(pipeline.__call__).parameters
    if parameters.options.skip_layer_guidance and "skip_guidance_layers" not in taken:
        raise UserError(
            "bad_technique",
            f"On {base.name} ({base.family.name}) skip-layer guidance goes with words alone: leave it out, or else controls, "
            "perturbed attention, a picture to begin from, and drawing once more.",
        )
    starts = parameters.start is not None and kind in base.family.pipelines
    if starts and parameters.strength < 1 and "strength" not in inspect.signature(pipeline.__call__).parameters:
        raise UserError(
            "bad_technique",
            f"With controls {base.name} ({base.family.name}) draws into a picture anew, whatever was there: ask for a strength "
            "of 1, or leave the controls out.",
        )
    if base.family.denoiser != "unet":
        return  # their stock pipelines all take it
    if parameters.embeds_guidance and not hasattr(pipeline, "get_guidance_scale_embedding"):
        raise UserError(
            "bad_technique", f"{base.name} does not go with {drawing}: leave the controls out, or choose another base."
        )


def check_template(options: GenerationOptions) -> None:
    """Raise `UserError` (`bad_technique`) for options that a drawing into a template does without."""
    if options.control_inputs:
        raise UserError("bad_technique", "A template is its own hint. Leave hints out, or choose a style of words.")
    if options.look is not None:
        raise UserError("bad_technique", "A template has its own look. Leave the look out, or choose a style of words.")
    if options.sdedit:
        raise UserError(
            "bad_technique",
            "A template is drawn into, and not once more as a whole. Leave sdedit out, or choose words.",
        )


def identity_names(
    request: PortraitRequest, options: GenerationOptions, usual: Sequence[str], base: BaseSource
) -> tuple[str, ...]:
    """Names of the adapters that draw the person of a text style: those asked for, or `usual`, those of the settings.

    Where neither names any, what was learned of them, and their photos where the base draws from reference pictures. A
    portrait that is drawn again has those that drew it. `lora` comes first, so that the others see its trigger in the
    description.
    """
    person, drawn_by = request.people[1], [name for name in IDENTITY_MODELS if name in (request.drawn or {})]
    names = tuple(options.identities or drawn_by or usual)
    if not names:
        learned = ("lora",) if person.lora is not None or person.tokens is not None else ()
        shown = ("reference",) if base.family.abilities.references and person.references else ()
        names = (*learned, *shown) or ("lora",)
    return tuple(sorted(dict.fromkeys(names), key=lambda name: name != "lora"))


def check_edit(edit: Edit, base: BaseSource) -> None:
    """Raise `UserError` (`bad_edit`) for an instruction, or pictures that go with an edit, where a base does without."""
    able, named = base.family.abilities, f"{base.name} ({base.family.name})"
    if edit.kind == "instruct" and not able.instructions:
        raise UserError(
            "bad_edit", f"{named} does not change a picture by words alone: paint a mask, or choose another base."
        )
    most = able.references - (edit.kind == "instruct")
    if len(edit.pictures) > most:
        what = f"at most {most} pictures with an edit" if most > 0 else "no pictures with an edit: leave them out"
        raise UserError("bad_edit", f"{named} takes {what}.")


def with_edit(
    parameters: GenerationParameters, edit: Edit, canvas: EditCanvas, description: str
) -> GenerationParameters:
    """Parameters that draw an edit; `description` is what prompts call the person, with the trigger of a LoRA."""
    if edit.kind == "instruct":
        return _carry_out(parameters, edit, description if "lora" in parameters.options.identities else "")
    return _start_from_canvas(parameters, edit, canvas)


def _carry_out(parameters: GenerationParameters, edit: Edit, description: str) -> GenerationParameters:
    """Parameters of an instruction: its words, and the picture as the first reference; not drawn once more.

    `description` follows the words where a LoRA takes part, which acts by its trigger; it is empty without one.
    """
    words, _ = take_loras(edit.extra_prompt)
    words = words.strip()
    if description:
        words = f"{words if words.endswith(('.', '!', '?')) else f'{words}.'} The person is {description}."
    return replace(
        parameters,
        prompt=words,
        negative="",
        options=replace(parameters.options, sdedit=0.0),
        edited=fit_picture(edit.picture),
        pictures=tuple(fit_picture(each) for each in edit.pictures),
    )


def _start_from_canvas(parameters: GenerationParameters, edit: Edit, canvas: EditCanvas) -> GenerationParameters:
    """Parameters that start from an edit's picture; landmarks keep its face where it is.

    Pictures that go with it are squares: beside a start the stock pipeline makes all references as large as the first.
    """
    options, size = parameters.options, parameters.size
    if edit.face is not None:
        options = replace(options, landmarks=canvas.to_drawing(edit.face, size))
    start, mask = canvas.crop_for_drawing(size), canvas.drawing_mask(size)
    words, _ = take_loras(edit.extra_prompt)
    prompt = f"{parameters.prompt}, {words}" if words else parameters.prompt
    pictures = tuple(fit_picture(each, square=True) for each in edit.pictures)
    return replace(
        parameters, prompt=prompt, options=options, start=start, mask=mask, strength=edit.strength, pictures=pictures
    )
