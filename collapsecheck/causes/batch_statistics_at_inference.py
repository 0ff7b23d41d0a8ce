"""Cause `batch-statistics-at-inference`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.causes.stale_batchnorm import recalibrated
from collapsecheck.checks import Kind
from collapsecheck.checks.repeatable_embeddings import RepeatableEmbeddings
from collapsecheck.observe.layers import Layer
from collapsecheck.scene import Scene


class BatchStatisticsAtInference(Cause):
    """BatchNorm uses the mean and deviation of the batch at hand, although the model is in eval mode.

    An item's embedding then depends on what else is in its batch: a query that comes alone does not fit to an index
    built in batches, and a batch of items alike is pulled apart. Happens with `track_running_stats=False`, with
    `F.batch_norm(..., training=True)`, and in models that put their layers back into training mode. A few items are run
    again in other batches; where embeddings are lost as well, the experiment gives these layers fixed statistics,
    measured on half of the probe.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.CLUSTER, Kind.DIMENSIONAL, Kind.NORM})
    symptomless = True
    unrepeatable = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Look for layers without statistics of their own, and whether items depend on their batch."""
        repeats = scene.seen.repeatability
        if repeats is None or not repeats.elsewhere > RepeatableEmbeddings.thresholds["warning"]:
            return
        if repeats.again > 0.5 * repeats.elsewhere:
            return  # what is random differs in every batch
        first = next(iter(_by_batch(scene)), None)
        if first is None:
            return
        yield Suspicion(
            layer=first.site.layer,
            depth=first.depth,
            evidence=(
                f"{first.site} normalises by the batch at hand, and the embedding of an item moves by "
                f"{repeats.elsewhere:.0%} of the typical distance when it is run in another batch"
            ),
            known=True,
            numbers={"moved": repeats.elsewhere},
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Give them statistics, measured on other items."""
        fixed: dict[str, nn.Module] = {}
        for layer in _by_batch(scene):
            module = scene.module.get_submodule(layer.site.layer)
            if isinstance(module, _BatchNorm):
                fixed[layer.site.layer] = _with_statistics(module)
        if not fixed:
            return
        yield Intervention(
            probe=recalibrated(scene.find.with_modules(fixed), list(fixed)).on_items(scene.confirm),
            change=f"statistics of {scene.find.items} items given to {len(fixed)} BatchNorm layers, for other items",
            uncontrolled="the other layers keep none that could be replaced",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Keep running statistics; or normalise each item by itself."""
        layer = suspicion.layer
        return (
            Remedy(
                id="eval-mode",
                title="Keep running statistics, and see that they are used: model.eval() must reach all layers",
                snippet=(
                    "for name, module in model.named_modules():\n"
                    "    if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):\n"
                    "        print(name, module.training, module.track_running_stats)"
                ),
                effect="layers made with track_running_stats=False must be trained again with it",
            ),
            Remedy(
                id="group-norm",
                title=f"Or use GroupNorm or LayerNorm in place of {layer}, which look at one item at a time",
                snippet="norm = torch.nn.GroupNorm(num_groups=8, num_channels=64)",
                effect="must be trained",
                reference="Wu & He 2018, arXiv:1803.08494",
            ),
        )


def _by_batch(scene: Scene) -> Iterator[Layer]:
    """Steps that normalise by the batch: modules without statistics or in training mode, and functions."""
    modules = dict(scene.module.named_modules())
    for layer in scene.path:
        module = modules[layer.site.layer]
        own = isinstance(module, _BatchNorm) and (module.running_mean is None or module.training)
        if layer.site.function == "batch_norm" or (own and not layer.site.function):
            yield layer


def _with_statistics(module: _BatchNorm) -> nn.Module:
    new = type(module)(module.num_features, eps=module.eps, affine=module.affine)
    if module.affine:
        new.weight, new.bias = module.weight, module.bias
    place = module.weight if module.affine else None
    return (new.to(place.device, place.dtype) if place is not None else new).eval()
