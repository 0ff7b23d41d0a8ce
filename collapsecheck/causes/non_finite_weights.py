"""Cause `non-finite-weights`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.scene import Scene


class NonFiniteWeights(Cause):
    """Weights or buffers hold NaN or Inf.

    One is enough: through sums it reaches every embedding. The experiment puts zeros in their place, in order to see
    whether they are what makes the embeddings NaN; that is no repair.
    """

    explains = frozenset({Kind.NON_FINITE})
    symptomless = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Count what is not finite, in each tensor."""
        found = _broken(scene)
        if not found:
            return
        name, tensor = next(iter(found.items()))
        count = sum(int((~torch.isfinite(one)).sum()) for one in found.values())
        layer = name.rpartition(".")[0]
        depth = next((one.depth for one in scene.layers if one.site.layer == layer), 0)
        yield Suspicion(
            layer=layer,
            depth=depth,
            evidence=(
                f"{count} numbers in {len(found)} tensors are NaN or Inf, the first in {name} "
                f"({int((~torch.isfinite(tensor)).sum())} of {tensor.numel()})"
            ),
            known=True,
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Put zeros in their place."""
        yield Intervention(
            probe=scene.confirm.with_tensors(
                {name: torch.nan_to_num(one, 0, 0, 0) for name, one in _broken(scene).items()}
            ),
            change="zeros put in place of NaN and Inf",
            uncontrolled="finite numbers elsewhere cannot make others finite",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Go back to an earlier checkpoint."""
        return (
            Remedy(
                id="earlier-checkpoint",
                title="Go back to a checkpoint before the first NaN; train on with a lower rate and clipped gradients",
                snippet="torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)",
                effect="call between loss.backward() and optimizer.step()",
            ),
        )


def _broken(scene: Scene) -> dict[str, Tensor]:
    held = (*scene.module.named_parameters(), *scene.module.named_buffers())
    return {name: one.detach() for name, one in held if one.is_floating_point() and not torch.isfinite(one).all()}
