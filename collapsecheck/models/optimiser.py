"""The optimiser of a loaded model: what its checkpoint tells of the last steps, by the model's own names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from collapsecheck.checkpoints.optimiser_facts import OptimiserFacts, optimiser_facts
from collapsecheck.checkpoints.optimisers import find_optimisers
from collapsecheck.checkpoints.state_dicts import find_state_dicts
from collapsecheck.errors import CollapsecheckError, NotMeasuredError
from collapsecheck.models import LoadedModel
from collapsecheck.models.freshness import UNTRAINED, measure_freshness
from collapsecheck.models.weights import expected_shapes
from collapsecheck.recognition.fitting import best_fit


def optimiser_of(loaded: LoadedModel) -> OptimiserFacts | None:
    """Hold the optimisers in the file against its weights; reads all moments. None where there is none."""
    content = loaded.checkpoint.content
    if not isinstance(content, Mapping) or not find_optimisers(content):
        return None
    try:
        usable = find_state_dicts(content, loaded.key or None).usable
    except CollapsecheckError as error:
        return OptimiserFacts(fits=False, reason=f"there are no weights to hold the optimiser's state against: {error}")
    used = next((one for one in usable if one.key == loaded.key), usable[0])
    fit = best_fit([used], expected_shapes(loaded.module), loaded.architecture.renamed)
    names = fit.alignment.names
    own = frozenset(dict(loaded.module.named_buffers()))
    buffers = frozenset(name for name in used.tensors if names.get(name, name) in own)
    facts = optimiser_facts(content, used.tensors, buffers=buffers)
    return facts.renamed(names) if facts is not None else None


def idle_of(loaded: LoadedModel, read_optimiser: Callable[[], OptimiserFacts | None]) -> tuple[str, ...]:
    """Parameters that the optimiser in the file did not hold, or did not move, and that look as they were drawn.

    Either alone is usual: a backbone is frozen on purpose, a layer is drawn anew and not used. Moments are only read
    where some of the weights, and not all, look as they were drawn.

    Raises
    ------
    NotMeasuredError
        If the optimiser's state cannot be held against the parameters, with the reason.
    """
    content = loaded.checkpoint.content
    if not isinstance(content, Mapping) or not find_optimisers(content):
        return ()
    freshness = measure_freshness(loaded.module)
    if not freshness.drawn or (freshness.share or 0.0) >= UNTRAINED:
        return ()
    facts = read_optimiser()
    if facts is None:
        return ()
    if not facts.fits:
        raise NotMeasuredError(f"the optimiser in the file is not used: {facts.reason}")
    left = {*facts.missing, *facts.untouched, *facts.stopped, *facts.decayed}
    return tuple(one.name for one in freshness.drawn if one.name in left)
