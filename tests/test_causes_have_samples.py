"""Each cause with a sample model: the broken one is named with that cause on top, the repaired one is not accused."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.mark.structures import ParameterSet
from torch import nn

from collapsecheck.causes import Status
from collapsecheck.diagnosis import all_causes
from sample_models.scanning import scanned

SHORT = 2  # architectures per cause in every run
FOLDER = Path(__file__).resolve().parent.parent / "sample_models"


def sample_of(cause: str) -> ModuleType | None:
    """The file of the cause's name in sample_models, where there is one."""
    name = cause.replace("-", "_")
    return importlib.import_module(f"sample_models.{name}") if (FOLDER / f"{name}.py").exists() else None


def pairs() -> Iterator[ParameterSet]:
    """Every cause on all of its architectures; all but two of these take minutes together."""
    for cause in all_causes():
        module = sample_of(cause)
        for count, build in enumerate(module.ARCHITECTURES if module else ()):
            yield pytest.param(cause, build, marks=[pytest.mark.long] if count >= SHORT else [])


@pytest.mark.parametrize(("cause", "build"), list(pairs()), ids=lambda one: getattr(one, "__name__", one))
def test_the_broken_one_is_named_and_the_repaired_one_is_not(cause: str, build: Callable[[], nn.Module]) -> None:
    module = sample_of(cause)
    assert module is not None
    broken = module.broken(build)
    report = scanned(broken)
    named = report.diagnoses[0] if report.diagnoses else None
    assert named is not None and named.cause == cause
    assert named.status in (Status.CONFIRMED, Status.LIKELY)
    if broken.layer:
        assert named.layer in {broken.layer, *broken.also}
        assert report.onset is None or report.onset.layer in {broken.layer, *broken.also}
    after = scanned(module.repaired(build))
    sure = [one for one in after.diagnoses if one.status in (Status.CONFIRMED, Status.LIKELY)]
    accused = [one.cause for one in sure if not one.expected]
    assert after.verdict.status == "healthy" and not accused


def test_every_sample_has_two_architectures() -> None:
    for cause in all_causes():
        module = sample_of(cause)
        assert module is None or len(module.ARCHITECTURES) >= 2, cause
