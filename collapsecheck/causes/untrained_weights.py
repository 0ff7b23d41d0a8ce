"""Cause `untrained-weights`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.models.freshness import Freshness, measure_freshness
from collapsecheck.models.initialisers import CONVOLUTIONS, NORMALISATIONS
from collapsecheck.observe import NotObservable
from collapsecheck.scene import Scene

# A spread below this is lost for training as well: then the depth is to blame before the missing training is.
UNTRAINABLE = 1e-3
# Share of the numbers of the model that must be of layers whose initialisation is known.
KNOWN = 0.5


class UntrainedWeights(Cause):
    """All weights are as a fresh initialisation draws them: nobody trained this model, or nothing of it was saved.

    A network of random weights maps everything to a narrow cone: cosines of 0.95 to 1 are usual for it, at any depth.
    Each tensor is compared with what its layer's initialisation would have drawn (distribution, mean, size, and the
    largest singular value, into which training writes first). No experiment can put the right weights there. Instead
    each tensor's numbers are shuffled, which would destroy whatever was learned: here it must change nothing.

    A deep net without normalisation that has not been trained has two causes. As long as some of the spread is left
    (more than a thousandth) training would bring it back, so that the missing training comes first. Below that the
    gradients see no difference between items either, training could not begin, and `depth-without-normalisation`
    comes first. Weights that are missing in the file are another cause, `weights-not-loaded`; a trained model with a
    few random layers (frozen, or a new head) is not meant.
    """

    explains = frozenset(set(Kind) - {Kind.NON_FINITE})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Compare every tensor on the way to the embedding with its initialisation."""
        if scene.seen.missing_keys or scene.seen.mismatched_keys:
            return  # these keep random values for a reason that is known
        fresh = measure_freshness(scene.module)
        drawn = [one for one in fresh.drawn if _on_the_way(scene, one.name)]
        if not drawn or _learned(scene, fresh):
            return
        parameters = [tensor for name, tensor in scene.module.named_parameters() if _on_the_way(scene, name)]
        known = sum(one.elements for one in (*drawn, *fresh.constant) if _on_the_way(scene, one.name))
        if known < KNOWN * sum(map(torch.Tensor.numel, parameters)):
            return
        ran = [int(one) for name, one in scene.module.named_buffers() if name.endswith("num_batches_tracked")]
        if ran and max(ran) == 0:
            passes = "; no BatchNorm has ever seen a batch"
        else:
            passes = f"; yet BatchNorm has seen {max(ran)} batches: the optimiser may not hold them" if ran else ""
        yield Suspicion(
            layer="",
            depth=_depth(scene),
            evidence=(
                f"all {len(drawn)} weights that can be tested are as their initialisation draws them, as in "
                f"{drawn[0].name} ({drawn[0].like}; p = {drawn[0].p or 0:.2g}){passes}"
            ),
            known=True,
            size=1.5,
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Shuffle the numbers of each weight: random ones are as good in any order."""
        generator = torch.Generator().manual_seed(scene.probe.seed)
        drawn = [one.name for one in measure_freshness(scene.module).drawn if _on_the_way(scene, one.name)]

        def shuffled(tensor: Tensor) -> Tensor:
            order = torch.randperm(tensor.numel(), generator=generator)
            return tensor.detach().flatten()[order.to(tensor.device)].view(tensor.shape)

        tensors = {name: shuffled(scene.module.get_parameter(name)) for name in drawn}
        yield Intervention(
            probe=scene.confirm.with_tensors(tensors),
            change=f"the numbers of each of the {len(tensors)} weights shuffled, which wipes out all that was learned",
            uncontrolled="a model that had learned anything would change",
            isolates=True,
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Load the trained weights, or train."""
        return (
            Remedy(
                id="load-trained-weights",
                title="Load the trained weights before saving or embedding, and see that something has changed",
                snippet=(
                    "before = {k: v.clone() for k, v in model.state_dict().items()}\n"
                    "state = torch.load('model.pt', weights_only=True)\n"
                    "model.load_state_dict(state, strict=True)\n"
                    "after = model.state_dict()\n"
                    "print(sum(not torch.equal(before[k], after[k]) for k in before), 'changed')"
                ),
                effect="a model made anew after training (or before saving) is random again",
            ),
            Remedy(
                id="give-parameters-to-the-optimiser",
                title="Or train: the optimiser must hold the parameters of this very model, with gradients",
                snippet=(
                    "optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)\n"
                    "held = {id(p) for g in optimizer.param_groups for p in g['params']}\n"
                    "lost = [n for n, p in model.named_parameters()\n"
                    "        if id(p) not in held or not p.requires_grad]\n"
                    "print('not trained:', lost)"
                ),
            ),
        )


def _on_the_way(scene: Scene, tensor: str) -> bool:
    """Whether the module of a tensor, or the one that holds it, runs before the embedding."""
    names = {layer.site.layer for layer in scene.path} - {""}
    path = tensor.rpartition(".")[0]
    while path:
        if path in names:
            return True
        path = path.rpartition(".")[0]
    return False


def _learned(scene: Scene, fresh: Freshness) -> bool:
    """Whether anything on the way to the embedding bears the mark of training, be it ever so small."""
    if any(_on_the_way(scene, name) for name in fresh.trained):
        return True
    modules = dict(scene.module.named_modules())
    for name in fresh.untested:
        path, _, own = name.rpartition(".")
        layer, tensor = modules[path], modules[path]._parameters.get(own)
        if tensor is None or not _on_the_way(scene, name):
            continue  # running statistics move without training
        if isinstance(layer, NORMALISATIONS):
            return True  # these begin at exactly 0 or 1
        if own == "bias" and isinstance(layer, (nn.Linear, *CONVOLUTIONS)) and not _within(tensor, layer.weight):
            return True
    return False


def _within(bias: Tensor, weight: Tensor) -> bool:
    """Whether a bias lies within the bound of torch's initialisation, uniform in ±1/√fan_in."""
    bound = math.prod(weight.shape[1:]) ** -0.5
    return bool(bias.detach().abs().max() <= bound * (1 + 1e-2))


def _depth(scene: Scene) -> float:
    """Before all layers; but behind them where the spread is so small that training could not begin."""
    try:
        spread = scene.seen.measure("unit_spread").value
    except NotObservable:
        return -0.5
    return -0.5 if spread >= UNTRAINABLE or scene.kind is Kind.NORM else 1e5
