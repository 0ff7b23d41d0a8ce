"""Cause `codebook-collapse`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe.layers import Layer
from collapsecheck.scene import Scene

# Share of the codes in use from which a codebook counts as alive.
ALIVE = 0.5
FEWEST = 4  # codes; smaller tables are no codebooks
SAME = 1e-4  # of the size of the codes


class CodebookCollapse(Cause):
    """A vector quantiser uses only a few of its codes, so that many items get the very same one.

    Only the code that is nearest to some item is trained, so the first winners keep winning (van den Oord et al. 2017).
    What a layer gives is compared with the rows of its own table, over all items of the probe: a single batch always
    looks poor. The experiment reads in front of the quantiser.
    """

    explains = frozenset({Kind.CLUSTER, Kind.COMPLETE, Kind.DIMENSIONAL})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Look for a layer whose outputs are rows of a table of its own."""
        learnt = False
        for layer in scene.path:
            counts = _usage(scene, layer) if learnt else None
            learnt = learnt or any(weight.layer is layer for weight in scene.weights)
            if counts is None:
                continue
            used, perplexity = int((counts > 0).sum()), _perplexity(counts)
            # As many rows, drawn evenly: a few items cannot use many codes.
            reachable = len(counts) * (1 - (1 - 1 / len(counts)) ** float(counts.sum()))
            if used >= ALIVE * reachable:
                continue
            yield Suspicion(
                layer=layer.site.layer,
                depth=layer.depth,
                evidence=(
                    f"{layer.site.layer} gives rows of its own table: {used} of {len(counts)} codes are in use "
                    f"(perplexity {perplexity:.1f})"
                ),
                known=True,
                size=0.3,
                numbers={"used": used, "codes": len(counts), "perplexity": perplexity},
            )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Read in front of it."""
        before = _in_front(scene, suspicion.layer)
        if before is not None:
            yield Intervention(
                probe=scene.confirm.read_at(before.site.layer),
                change=f"the embedding read at {before.site.layer}, in front of the quantiser",
                uncontrolled="reading elsewhere changes nothing in the model",
            )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Revive codes; start them on data."""
        before = _in_front(scene, suspicion.layer)
        layer = before.site.layer if before is not None else "the layer before"
        return (
            Remedy(
                id="revive-codes",
                title="Start the codes on data (k-means), and put codes that nothing is near to on random items",
                snippet=(
                    "codes = torch.randn(32, embeddings.shape[1])\n"
                    "nearest = torch.cdist(embeddings, codes).argmin(dim=1)\n"
                    "dead = torch.bincount(nearest, minlength=len(codes)) == 0\n"
                    "chosen = torch.randint(len(embeddings), (int(dead.sum()),))\n"
                    "codes[dead] = embeddings[chosen].detach()"
                ),
                effect="every few hundred steps while training; see that the commitment loss is part of the objective",
                reference="Razavi et al. 2019, arXiv:1906.00446",
            ),
            Remedy(
                id="read-before",
                title=f"For similarity, read the embedding at {layer}, in front of the quantiser",
                effect=f"collapsecheck scan … --layer {layer}",
            ),
        )


def _usage(scene: Scene, layer: Layer) -> NDArray[np.float64] | None:
    """How often each row of a table of the layer is what the layer gives; None where it gives something else."""
    if layer.site.function or not layer.after.finite or not len(layer.after.values):
        return None
    module = scene.module.get_submodule(layer.site.layer)
    rows = layer.after.values.transpose(0, 2, 1).reshape(-1, layer.after.values.shape[1])
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if tensor.ndim != 2 or tensor.shape[0] < FEWEST or tensor.shape[1] != layer.units:
            continue
        table = tensor.detach().double().cpu().numpy()[:, layer.after.units]
        if (table == table[:1]).all():
            continue  # weights of zero or of one value, which give what a row of theirs is by accident
        distinct, counts = np.unique(rows, axis=0, return_counts=True)
        if len(distinct) > len(table):
            continue
        limit = SAME * max(float(np.abs(table).max()), 1e-30)
        used = np.zeros(len(table))
        for row, count in zip(distinct, counts, strict=True):  # one by one: what is no table ends with the first
            apart = np.abs(table - row).max(1)
            nearest = int(apart.argmin())
            if apart[nearest] > limit:
                break
            used[nearest] += count
        else:
            return used
    return None


def _perplexity(counts: NDArray[np.float64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _in_front(scene: Scene, layer: str) -> Layer | None:
    """The last module in front of a layer that is not around it."""
    found = None
    for one in scene.path:
        if one.site.layer == layer and not one.site.function:
            return found
        if not one.site.function and one.site.layer:
            found = one
    return None
