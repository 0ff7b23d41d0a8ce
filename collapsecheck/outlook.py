"""What the training would do from here, in words a newcomer understands, each with the numbers it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from collapsecheck.checks import Kind
from collapsecheck.errors import printable
from collapsecheck.objectives.constants import meanings
from collapsecheck.objectives.losses.cosine_bce import CosineBce
from collapsecheck.observe.objective_facts import ObjectiveFacts
from collapsecheck.scene import Scene
from collapsecheck.user_code import in_one_line

_WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
# A last value of the loss is that of one point if it is as near as this, relatively.
NEAR = 0.01
# A loss asks for something if it asks for this share of what it asks of random embeddings.
ASKS = 0.05
# A step leads nowhere in particular if its cosine with what parts embeddings is as small as this.
NOTHING = 0.05
# Share of items with a partner of their class in a batch below which a loss of classes compares little.
LONELY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Sentences for people, and the numbers in them for machines."""

    sentences: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)


def outlook_of(scene: Scene) -> Outlook:
    """What the loss, the last value of it and the depth of the net say about how training would go on."""
    numbers: dict[str, float] = {}
    sentences: list[str] = []
    for part in (_asked, _held, _last_value, _next_step):
        try:
            sentences += part(scene, numbers)
        except Exception as error:  # what cannot be looked into costs its own sentences, and not the scan
            sentences.append(f"A part of this could not be looked into: {in_one_line(error)}.")
    return Outlook(
        sentences=tuple(sentences), numbers={name: one for name, one in numbers.items() if math.isfinite(one)}
    )


def _asked(scene: Scene, numbers: dict[str, float]) -> Iterator[str]:
    """What the loss costs at landmarks, and where a step along it leads."""
    asked = scene.asked
    if asked is None:
        if scene.unasked:
            yield f"The loss could not be computed: {scene.unasked}."
        return
    marks = asked.landmarks
    numbers |= {
        "loss_here": asked.here, "loss_one_point": marks.one_point, "loss_classes_apart": marks.apart,
        "loss_chance": marks.chance, "loss_floor": marks.floor, "step_alignment": asked.alignment,
        "step_alignment_low": asked.interval[0], "step_alignment_high": asked.interval[1],
        "step_alignment_of_weights": asked.through, "step_changes_spread_by": asked.change, "force": asked.force,
        "margin_violated": asked.violated, "partners": asked.partners,
    }  # fmt: skip
    apart = "classes apart" if asked.classes else "items apart"
    text = (
        f"The loss, {asked.objective}, costs {asked.here:.4g} here. One point for all costs {marks.one_point:.4g}, "
        f"{apart} {marks.apart:.4g}"
    )
    text += f", the best that was found {marks.floor:.4g}" if math.isfinite(marks.floor) else ""
    if marks.attracted:
        text += ": nothing is cheaper than one point, so that nothing in it keeps items apart"
    elif scene.objective is not None and scene.objective.needs_labels and marks.inverted:
        text += ": it asks for the opposite of what the labels say"
    yield f"{text}."
    if math.isfinite(asked.alignment) and not asked.force < ASKS:
        yield f"{_direction(asked)}."
    for sentence in _partners(scene, asked):
        yield f"{sentence}."
    if math.isfinite(asked.violated) and scene.kind is not None:
        what = "triplets" if scene.objective is not None and "triplet" in scene.objective.id else "different pairs"
        yield f"Of the {what}, {asked.violated:.0%} are nearer than the margin."


def _partners(scene: Scene, asked: ObjectiveFacts) -> Iterator[str]:
    """Whether random batches hold what the loss compares."""
    if scene.objective is not None and scene.objective.needs_labels and asked.partners < LONELY:
        yield (
            f"In a random batch of {asked.items} items only {asked.partners:.0%} have another of their class: the loss "
            "compares little, unless batches are drawn with several items of each class"
        )


def _direction(asked: ObjectiveFacts) -> str:
    low, high = asked.interval
    if abs(asked.alignment) < NOTHING or low <= 0 <= high:
        return (
            "A step along it neither parts the embeddings nor draws them together (cosine "
            f"{asked.alignment:+.2f} with what would part them)"
        )
    leads = "parts the embeddings" if low > 0 else "draws the embeddings together"
    text = f"A step along it {leads} (cosine {asked.alignment:+.2f} with what would part them)"
    if math.isfinite(asked.change):
        link = "; " if asked.change * asked.alignment > 0 else ", but what the weights can follow is another matter: "
        much = "more than 100%" if abs(asked.change) > 1 else f"{abs(asked.change):.0%}"
        text += f"{link}one that changes them by 0.1 % makes the spread {much} {'more' if asked.change > 0 else 'less'}"
        text = text.replace("; one that changes them", "; one that changes the weights")
    return text


def _held(scene: Scene, numbers: dict[str, float]) -> Iterator[str]:
    """Why training cannot leave a point: what depth has to do with it, and what the loss."""
    if scene.kind not in (Kind.COMPLETE, Kind.CONE) or not scene.path:
        return
    asked = scene.asked
    begin = scene.path[0].before.relative_spread if scene.path[0].before is not None else math.nan
    now = scene.seen.measurements["unit_spread"].value if "unit_spread" in scene.seen.measurements else math.nan
    twin = scene.untrained_spread
    if not (0 < now < begin and twin > 0):
        return
    layers = len({layer.site.layer for layer, _ in scene.steps(*_WEIGHTED)})
    depth = f"{layers} layers" + ("" if any(True for _ in scene.steps(*_NORMS)) else " without normalisation")
    by_depth = min(max(math.log(begin / twin) / math.log(begin / now), 0.0), 1.0)
    numbers |= {"spread_inputs": begin, "spread_untrained": twin, "spread_here": now, "share_of_depth": by_depth}
    yield (
        f"The spread falls from {begin:.2g} in the inputs to {now:.2g} in the embeddings. An untrained copy of the "
        f"same net comes to {twin:.2g}: {by_depth:.0%} of the fall (in orders of magnitude) is that of {depth} "
        f"as they are built, {1 - by_depth:.0%} is in the weights and statistics of this checkpoint."
    )
    if asked is None or not asked.force < ASKS:
        return
    if asked.landmarks.bounded and 0 < asked.held_by_place * asked.held_by_bound < 1:
        place, bound = asked.held_by_place, asked.held_by_bound
        whole = math.log(place * bound)
        numbers |= {"push": place * bound, "push_share_of_depth": math.log(place) / whole}
        numbers |= {"push_share_of_bound": math.log(bound) / whole}
        least = min(asked.landmarks.alike, asked.landmarks.different)
        yield (
            f"Training cannot leave this point: the push that would part two items is {place * bound:.1e} of what a "
            f"loss without bound gives items that are apart. {math.log(place) / whole:.0%} of that comes from depth: "
            "where all cosines are 1, moving an embedding hardly changes them, so that no loss of cosines pulls. "
            f"{math.log(bound) / whole:.0%} comes from the bounded loss: {_bound(scene)}not even two items alone can "
            f"cost less than {least:.4f}, and it pushes {1 / bound:.3g} times less than a sigmoid of the cosine scaled "
            "by 10."
        )
    else:
        yield (
            f"Training cannot leave this point: what the loss asks of an embedding here is {asked.force:.1e} of what "
            "it asks of random ones."
        )


def _bound(scene: Scene) -> str:
    """Why it is bounded, where that is known: of a loss of the user's own only what it costs is."""
    known = isinstance(scene.objective, CosineBce)
    return "a sigmoid of a cosine stays between 0.27 and 0.73, " if known else ""


def _last_value(scene: Scene, numbers: dict[str, float]) -> Iterator[str]:
    """Whether the last value of the loss is one that gives a collapse away."""
    last, asked = scene.recipe.last_loss, scene.asked
    if last is None:
        return
    numbers["last_loss"] = last
    point = asked.landmarks.one_point if asked is not None else math.nan
    if abs(last - point) <= NEAR * abs(point):
        yield f"The last value of the loss, {last:.4g}, is what one point for all costs."
        return
    labels = scene.seen.sample.known_labels
    classes = None if labels is None else len(set(labels.tolist()) - {-1})
    found = next(meanings(last, classes=classes, margin=scene.recipe.margin), None)
    if found is not None and scene.kind is not None:
        yield f"The last value of the loss, {last:.4g}, is {found}."


def _next_step(scene: Scene, numbers: dict[str, float]) -> Iterator[str]:
    """What the optimiser in the file would do next; its moments are only read where something is wrong."""
    if scene.kind is None:
        return
    facts = scene.optimiser
    if facts is None:
        return
    if not facts.fits:
        yield f"The optimiser in the file is not used: {printable(facts.reason, 300).rstrip('.')}."
        return
    if facts.updates is not None:
        numbers["next_update"] = facts.updates.median
        at = f" at a rate of {scene.recipe.rate:g}" if scene.recipe.rate else ""
        yield (
            f"The next step of {facts.kind or 'the optimiser'}{at} would change a matrix of weights by "
            f"{facts.updates.median:.2g} of itself (usual: 0.001; above 0.1 nothing is learnt)."
        )
    still = [*facts.untouched, *facts.stopped]
    if still:
        named = printable(still[0], 80) + (f" and {len(still) - 1} more" if len(still) > 1 else "")
        yield f"No gradient comes to {named} of late, as the optimiser's moments say."
