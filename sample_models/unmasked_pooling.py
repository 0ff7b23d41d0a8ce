"""`unmasked-pooling`: sentences are filled up to one length, and the filling takes part in their embeddings."""

from __future__ import annotations

from torch import Tensor

from sample_models import texts
from sample_models.planting import Build
from sample_models.sample import Sample

_MASKED: dict[Build, Build] = {
    texts.attentive_unmasked: texts.attentive_masked,
    texts.recurrent_unmasked: texts.recurrent_masked,
}


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained with masks, used without."""
    return _sample(build, texts.trained(_MASKED[build], seed))


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same weights, with masks."""
    return _sample(_MASKED[build], texts.trained(_MASKED[build], seed))


def data() -> tuple[Tensor, Tensor]:
    """Sentences that no training saw, as word ids, and the modules that they are from."""
    ids, modules = texts.sentences()
    return ids[: texts.SCANNED].clone(), modules[: texts.SCANNED].clone()


ARCHITECTURES = tuple(_MASKED)


def _sample(build: Build, state: dict[str, Tensor]) -> Sample:
    ids, modules = data()
    return Sample(build=build, state=state, inputs=ids, labels=modules)
