"""Cause `unmasked-pooling`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe.probe import length_of
from collapsecheck.scene import Scene

# Share of the items that end in the same id again and again, and of the padding in all of them.
PADDED, SHARE = 0.3, 0.2
RUN = 3  # equal ids at the end that are taken for padding


class UnmaskedPooling(Cause):
    """Padding takes part in the embedding: what is averaged, or read last, is mostly the padding that all items share.

    The mean over all positions, or the last state of a recurrent net, counts the positions that were only filled up;
    the shorter the text, the more alike the embeddings. The id that items end in again and again is taken for padding.
    The experiment runs the same items without it, those of one length together; the sham forms the same batches, and
    leaves the padding.
    """

    explains = frozenset({Kind.CONE, Kind.COMPLETE, Kind.CLUSTER, Kind.DIMENSIONAL})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Look for an id that fills up the ends of items."""
        ids = _token_ids(scene)
        if ids is None:
            return
        padding = _padding_of(ids)
        if padding is None:
            return
        lengths = torch.stack([length_of(row, padding) for row in ids])
        share = float(1 - lengths.double().mean() / ids.shape[1])
        if share < SHARE:
            return
        place = next((layer for layer in scene.path if layer.site.function == "mean"), None)
        place = place or (scene.path[-1] if scene.path else None)
        yield Suspicion(
            layer=place.site.layer if place is not None else "",
            depth=place.depth if place is not None else 0.0,
            evidence=(
                f"{share:.0%} of all positions hold the id {padding}, with which items are filled up to {ids.shape[1]} "
                f"({float(lengths.double().median()):.0f} ids without it, in the median)"
            ),
            size=0.3,
            numbers={"padding": padding, "share": share},
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Leave the padding out."""
        padding = int(suspicion.numbers["padding"])
        yield Intervention(
            probe=scene.confirm.unpadded(padding),
            change=f"the same items without the id {padding} at their ends, those of one length together",
            control=scene.confirm.in_pairs(),
            sham="running them in small batches with their padding",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Mask before the mean."""
        padding = suspicion.numbers.get("padding", 0)
        return (
            Remedy(
                id="masked-mean",
                title="Average over the positions that are no padding, and mask padding in attention too",
                snippet=(
                    "tokens = torch.randn(2, 4, 8)\n"
                    f"ids = torch.tensor([[3, 4, {padding}, {padding}], [5, 6, 7, 8]])\n"
                    f"mask = (ids != {padding}).unsqueeze(-1)\n"
                    "pooled = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1)"
                ),
                effect="no training needed where the model was trained with masks",
                reference="Reimers & Gurevych 2019, arXiv:1908.10084",
            ),
            Remedy(
                id="packed-sequence",
                title="In recurrent nets, pack the sequences, so that the last state is that of the last token",
                snippet=(
                    "packed = torch.nn.utils.rnn.pack_padded_sequence(\n"
                    "    torch.randn(2, 5, 8), torch.tensor([3, 5]), batch_first=True,\n"
                    "    enforce_sorted=False)"
                ),
            ),
        )


def _token_ids(scene: Scene) -> Tensor | None:
    """The ids of the find half [n, t]; None where the inputs are something else."""
    held = [batch.inputs for batch in scene.find.batches]
    if not held or not all(isinstance(one, Tensor) and one.ndim == 2 and not one.is_floating_point() for one in held):
        return None
    if len({one.shape[1] for one in held}) > 1:
        return None
    return torch.cat(held)


def _padding_of(ids: Tensor) -> int | None:
    """The id that many items end in, several times in a row."""
    if ids.shape[1] <= RUN:
        return None
    last = ids[:, -1]
    filled = last[(ids[:, -RUN:] == last[:, None]).all(1)]
    if len(filled) < PADDED * len(ids):
        return None
    padding = int(filled.mode().values)
    return padding if int((filled == padding).sum()) >= PADDED * len(ids) else None
