"""Models: the content of a checkpoint becomes a module that runs, and a record of how it was loaded.

Missing, unexpected or wrongly shaped weights are never silent: `load_model` refuses them, or, where the user
allows it, lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from collapsecheck.checkpoints import Checkpoint, SafetyNote, read_checkpoint
from collapsecheck.checkpoints.state_dicts import Found, find_state_dicts, unused_entries
from collapsecheck.datasets.model_input import ModelInput
from collapsecheck.discovery import plugins
from collapsecheck.errors import NotLoadableError, printable
from collapsecheck.models import sources
from collapsecheck.models.architecture import Architecture, choose_architecture
from collapsecheck.models.classifier import is_weighted_leaf
from collapsecheck.models.readout import Readout, choose_readout
from collapsecheck.models.sources import ModelSource
from collapsecheck.models.weights import (
    Loading,
    describe_differences,
    describe_keys,
    expected_shapes,
    load_weights,
)
from collapsecheck.recognition.choice import nearest
from collapsecheck.recognition.fitting import Fit, best_fit
from collapsecheck.recognition.installed import installed_index
from collapsecheck.user_code import load_callable

_ALL = Loading(loaded=0, missing=(), unexpected=(), mismatched={})

__all__ = ["LoadedModel", "Readout", "choose_readout", "expected_input", "load_callable", "load_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model and how it came out of its file. Names out of the file are as they are: escape them.

    `module` is in evaluation mode, its weights are float32 on the CPU. `trust`, `reason` and `assumed` are those of
    the `Architecture`. `key` is the dotted path of the weights in the checkpoint ("" is the root), `ignored` the
    entries at the top that were left unused, `averaged` those of them that are moving averages of weights.
    `prefixes` were taken off the names of the weights, `added_prefix` was put in front of them. The keys that
    did not fit are empty without `allow_partial`, but for parts that the embedding does not need.
    """

    module: nn.Module
    architecture: Architecture
    checkpoint: Checkpoint
    parameters: int
    key: str = ""
    ignored: tuple[str, ...] = ()
    averaged: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    added_prefix: str = ""
    missing_keys: tuple[str, ...] = ()
    unexpected_keys: tuple[str, ...] = ()
    mismatched_keys: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[SafetyNote, ...]:
        """What the user should know of the file; once its code ran, not that it was only read."""
        ran = self.architecture.trust == "code"
        return tuple(note for note in self.checkpoint.notes if not (ran and note.id == "contains-code"))


def load_model(
    path: Path | str,
    *,
    model_def: str | None = None,
    arch: str | None = None,
    key: str | None = None,
    allow_partial: bool = False,
    trust_checkpoint: bool = False,
) -> LoadedModel:
    """Load the weights of a checkpoint into a model.

    Parameters
    ----------
    path
        The checkpoint.
    model_def
        `FILE_OR_MODULE:CALLABLE` that returns the model without arguments.
    arch
        Name of a torchvision model. Without it and `model_def` the file itself must tell.
    key
        Dotted path of the weights in the checkpoint; found by itself without.
    allow_partial
        Go on when some weights are missing, left over or wrongly shaped.
    trust_checkpoint
        Let code in the file run, in a process of its own.

    Raises
    ------
    UsageError
        If an option or the user's code is wrong, or the path does not exist.
    NotLoadableError
        If the file is refused, or the weights do not fit the model.
    """
    architecture = choose_architecture(model_def, arch)
    checkpoint = read_checkpoint(path)
    try:
        found, nothing = None, None
        try:
            found = find_state_dicts(checkpoint.content, key)
        except NotLoadableError as error:  # a graph may do without weights, and code may hide them
            nothing = error
        if architecture is None:
            architecture = _offered(checkpoint, found, trusted=trust_checkpoint, nothing=nothing)
        if architecture.expected() is None:
            return _whole(checkpoint, architecture, allow_partial)
        if found is None:
            unseen = NotLoadableError("holds no weights that could be taken without running its code")
            raise unseen if checkpoint.runs_code or nothing is None else nothing
        return _loaded(checkpoint, architecture, found, allow_partial)
    except NotLoadableError as error:
        raise NotLoadableError(f"{printable(str(path))}: {error}") from error


def expected_input(loaded: LoadedModel) -> ModelInput:
    """Tell from the architecture and the first layers of a model what input it takes."""
    if loaded.architecture.takes is not None:
        return loaded.architecture.takes
    module = loaded.module
    first = next(filter(is_weighted_leaf, module.modules()), None)
    channels = (one.in_channels for one in module.modules() if isinstance(one, nn.Conv2d))
    return ModelInput(
        channels=next(channels, 0) or None,  # a lazy convolution does not know yet, and says 0
        sound_channels=_sound_channels(module, first),
        token_ids=isinstance(first, nn.Embedding | nn.EmbeddingBag),
        arch_name=loaded.architecture.arch_name,
    )


def _sound_channels(module: nn.Module, first: nn.Module | None) -> int | None:
    """Return the channels of a first convolution over time, unless the model adds the channel dimension itself."""
    if getattr(module, "main_input_name", None) == "input_values":  # models of transformers that take `[n, samples]`
        return None
    return first.in_channels or None if isinstance(first, nn.Conv1d) else None


def _offered(
    checkpoint: Checkpoint, found: Found | None, *, trusted: bool, nothing: NotLoadableError | None
) -> Architecture:
    """Ask every source, in the order of their ranks, what makes the model; `nothing` says why no weights are found."""
    known = sorted(plugins(sources, ModelSource).values(), key=lambda source: source.rank)
    for source in known:
        offer: Architecture | None = source().offer(checkpoint, found, trusted=trusted)
        if offer is not None:
            return offer
    if nothing is not None:
        raise nothing
    held = f" ({describe_keys(found)})" if found is not None else ""
    raise NotLoadableError(
        f"holds weights but no architecture, and they fit none that is known{held}{_nearest(found)}; say which model "
        "they belong to with --model-def FILE:CALLABLE or --arch NAME (a torchvision model, such as resnet18)"
    )


def _nearest(found: Found | None) -> str:
    """Name the architecture that the weights are almost of; which one they are is for the user to say."""
    index = installed_index("torchvision")
    near = nearest(found, index) if found is not None and index is not None else None
    if near is None:
        return ""
    return f"; nearest is {near.name}, with {near.matched} of its {near.of} weights, but {near.differs}"


def _whole(checkpoint: Checkpoint, architecture: Architecture, allow_partial: bool) -> LoadedModel:
    """Take a model that brings its weights along."""
    module = architecture.build({})
    loading = architecture.loading or _ALL
    if not loading.complete and not (allow_partial and loading.loaded):
        raise NotLoadableError(
            f"the weights do not fit {printable(architecture.name)}: {describe_differences(loading)}; copy or download "
            "the directory again, or --allow-partial to go on with those that fit"
        )
    return LoadedModel(
        module=module,
        architecture=architecture,
        checkpoint=checkpoint,
        parameters=_parameters(module) if architecture.parameters is None else architecture.parameters,
        missing_keys=loading.missing,
        unexpected_keys=loading.unexpected,
        mismatched_keys=tuple(loading.mismatched),
    )


def _loaded(checkpoint: Checkpoint, architecture: Architecture, found: Found, allow_partial: bool) -> LoadedModel:
    fit = best_fit(found.usable, architecture.expected() or {}, architecture.renamed)
    module, fit, loading = _built(architecture, fit, complete=True)
    if loading.missing or loading.mismatched:  # then some weights keep what they were initialised with
        module, fit, loading = _built(architecture, fit, complete=False)
    loading = loading.without(architecture.optional, architecture.ignorable)
    if not loading.complete and not (allow_partial and loading.loaded):
        raise NotLoadableError(_misfit(architecture, found, loading, fit.weights.key))
    return LoadedModel(
        module=module,
        architecture=architecture,
        checkpoint=checkpoint,
        parameters=_parameters(module),
        key=fit.weights.key,
        ignored=unused_entries(checkpoint.content, fit.weights),
        averaged=found.averaged,
        prefixes=fit.alignment.stripped,
        added_prefix=fit.alignment.added,
        missing_keys=loading.missing,
        unexpected_keys=loading.unexpected,
        mismatched_keys=tuple(loading.mismatched),
    )


def _built(architecture: Architecture, fit: Fit, *, complete: bool) -> tuple[nn.Module, Fit, Loading]:
    module = architecture.build(fit.shapes(), complete=complete)
    expected = expected_shapes(module)  # the build may have followed the weights
    fit = best_fit([fit.weights], expected, architecture.renamed)
    return module, fit, load_weights(module, fit)


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if not nn.parameter.is_lazy(p))


def _misfit(architecture: Architecture, found: Found, loading: Loading, used: str) -> str:
    """Say what does not fit, and what could help."""
    name = printable(architecture.name)
    differences = describe_differences(loading)
    others = [one.key or "the root" for one in found.usable if one.key != used] + list(found.averaged)
    shown = ", ".join(printable(other, 60) for other in others[:5])
    key = f"--key with another part of the file ({shown})" if others else "--key with another part of the file"
    if not loading.loaded:
        return f"no weight fits {name}: {differences}; try another --arch or --model-def, or {key}"
    return (
        f"the weights do not fit {name}: {differences}; try another --arch or --model-def, {key}, "
        "or --allow-partial to go on with those that fit"
    )
