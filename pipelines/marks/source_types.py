"""IPTC's digital source types: by which kind of process a picture came about, by what really drew its pixels.

The rule, by IPTC's definitions; the first line that holds counts:

1. Drawn of words by a diffusion model, edits of such a portrait among them: `trainedAlgorithmicMedia`.
2. A face put into another picture: `compositeWithTrainedAlgorithmicMedia`, by a network or not. A warped face is marked as
   strictly as a drawn one, so that nobody takes it for a photo.
3. A network drew the face anew in what was a composite or a photo, a face swapper or a restorer: the same.
4. A person cut out and put before a painted or another backdrop: `compositeSynthetic`.
5. An ID photo before its own wall: `algorithmicallyEnhanced`, as only light, colour and frame are other.

Enlarging, by a network or not, invents no faces: it changes nothing of this.
"""

from collections.abc import Mapping

BY_KIND = {
    "studio": "compositeSynthetic",
    "template": "compositeWithTrainedAlgorithmicMedia",
    "text": "trainedAlgorithmicMedia",
    "idphoto": "compositeSynthetic",
}
"""IPTC's NewsCodes by kind of style."""
KEPT_BACKGROUND = "algorithmicallyEnhanced"
"""Of an ID photo whose background is the photo's own."""
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FACE_NETWORKS = ("swap", "restoreformer")
"""Refiners in which a network draws faces anew."""


def of_recipe(recipe: Mapping[str, object]) -> str:
    """Return IPTC's digital source type of the portrait that a recipe draws."""
    style, drawn = recipe.get("style"), recipe.get("drawn")
    kind = str(style["kind"]) if isinstance(style, Mapping) else "template"
    if kind in ("studio", "idphoto") and _drawn_by_network(recipe):
        return BY_KIND["template"]
    kept = kind == "idphoto" and isinstance(drawn, Mapping) and drawn.get("background") == "kept"
    return KEPT_BACKGROUND if kept else BY_KIND[kind]


def _drawn_by_network(recipe: Mapping[str, object]) -> bool:
    """Return whether a network drew a face into what the painter made."""
    drawn, steps = recipe.get("drawn"), recipe.get("refiners")
    refined = drawn.get("refined") if isinstance(drawn, Mapping) else None
    names = [each.get("name") for each in steps if isinstance(each, Mapping)] if isinstance(steps, list | tuple) else []
    # A step that draws people's own faces is asked for in `refiners`, and noted in `refined` where it was done.
    done = {*(name for name in names if name != "swap"), *(refined if isinstance(refined, Mapping) else ())}
    return not done.isdisjoint(FACE_NETWORKS)
