"""Cause `random-inference`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks.repeatable_embeddings import RepeatableEmbeddings
from collapsecheck.scene import Scene


class RandomInference(Cause):
    """Something in the model is random in eval mode: the same item gets another embedding each time.

    Mostly dropout that is left on (`F.dropout(x)` without `training=self.training`), or augmentation or sampling within
    the forward pass. Experiments on such a model differ from run to run by chance. The same batch is run twice; the
    experiment starts torch's random numbers at the same place before each run.
    """

    explains = frozenset()
    symptomless = True
    unrepeatable = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Compare two runs of the same batch."""
        repeats = scene.seen.repeatability
        if repeats is None or not repeats.again > RepeatableEmbeddings.thresholds["warning"]:
            return
        drops = [
            (layer, module)
            for layer, module in scene.steps(_DropoutNd)
            if module.training and getattr(module, "p", 0.0) > 0
        ]
        where = drops[0][0].site.layer if drops else ""
        told = f"{where} is in training mode" if drops else "no layer that is known to be random is in training mode"
        yield Suspicion(
            layer=where,
            depth=drops[0][0].depth if drops else 1e6,
            evidence=(
                f"run twice, the embeddings of one batch differ by {repeats.again:.0%} of the typical distance; {told}"
            ),
            known=True,
            numbers={"again": repeats.again},
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Draw the same numbers in each run."""
        module = scene.confirm.copy()
        module.register_forward_pre_hook(_begin_again)
        yield Intervention(
            probe=scene.confirm.on(module),
            change="torch's random numbers started anew before each run of a batch",
            uncontrolled="nothing but the numbers that are drawn is another",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Switch it off for inference."""
        return (
            Remedy(
                id="off-in-eval-mode",
                title="Let eval mode switch it off: nn.Dropout, or training=self.training in the functional call",
                snippet=(
                    "# hidden = torch.nn.functional.dropout(hidden, 0.5)  # always on\n"
                    "hidden = torch.nn.functional.dropout(embeddings, 0.5, training=model.training)"
                ),
                effect="no training needed",
            ),
        )


def _begin_again(module: nn.Module, inputs: object) -> None:  # noqa: ARG001 - as a hook is called
    torch.manual_seed(0)
