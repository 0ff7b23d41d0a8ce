"""What is in a checkpoint, on one screen: read, choose the weights, name the model, collect the traces of training."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints import Checkpoint, read_checkpoint
from collapsecheck.checkpoints.plain_values import key_text, plain
from collapsecheck.checkpoints.state_dicts import Found, find_state_dicts
from collapsecheck.checkpoints.training_state import read_training_state
from collapsecheck.errors import NotLoadableError
from collapsecheck.inspection.entries import describe_entries
from collapsecheck.inspection.layers import describe_layers, describe_weights
from collapsecheck.inspection.recognising import is_bare, recognise
from collapsecheck.reports.inspection import Inspection


def inspect(
    path: Path | str,
    *,
    key: str | None = None,
    arch: str | None = None,
    model_def: str | None = None,
    architecture: bool = True,
    moments: bool = False,
    sha256: bool = False,
) -> Inspection:
    """Look at a checkpoint without running anything in it, and without reading the numbers of its weights.

    Parameters
    ----------
    path
        The checkpoint.
    key
        Dotted path of the weights in it; found by itself without.
    arch, model_def
        The model that the weights are to be held against: a torchvision name, or `FILE_OR_MODULE:CALLABLE`, your
        own code, which is run. Without either the file must tell.
    architecture
        Whether to find out the model. Weights that come with nothing else are recognised without torch; it is
        imported where the file brings a module or a graph, or you name the model.
    moments
        Whether to read all moments of the optimisers.
    sha256
        Whether to compute the digest, for which the whole file is read.

    Raises
    ------
    UsageError
        If an option is wrong, or the path does not exist.
    NotLoadableError
        If the file is refused.
    """
    checkpoint = read_checkpoint(path)
    found, no_weights = _weights(checkpoint, key)
    chosen = found.usable[0] if found is not None else None
    matched = None
    if arch is None and model_def is None and found is not None and is_bare(checkpoint, found):
        matched = recognise(found) if architecture else None
    elif architecture or arch is not None or model_def is not None:
        from collapsecheck.inspection.matching import match

        matched = match(checkpoint, found, arch=arch, model_def=model_def)
    if matched is not None:
        chosen = matched.weights or chosen
    files = checkpoint.files or (checkpoint.path,)
    training = read_training_state(
        checkpoint.content, found, key=chosen.key if chosen is not None else None, moments=moments
    )
    return Inspection(
        path=str(path),
        format=checkpoint.format,
        bytes=sum(file.stat().st_size for file in files),
        files=len(files),
        sha256=checkpoint.sha256 if sha256 else None,
        notes=tuple((note.id, note.message, note.names) for note in checkpoint.notes),
        runs_code=checkpoint.runs_code,
        metadata={key_text(name): plain(value) for name, value in checkpoint.metadata.items()},
        entries=describe_entries(checkpoint.content, found, chosen, training),
        weights=describe_weights(chosen, matched) if chosen is not None else None,
        no_weights=no_weights,
        architecture=matched.facts if matched is not None else None,
        layers=describe_layers(chosen, matched) if chosen is not None else (),
        training=training,
    )


def _weights(checkpoint: Checkpoint, key: str | None) -> tuple[Found | None, str]:
    """Find the weights; that there are none is no error here, but something to be told."""
    try:
        return find_state_dicts(checkpoint.content, key), ""
    except NotLoadableError as error:
        return None, str(error)
