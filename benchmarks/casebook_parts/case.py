"""What a replayed report is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from benchmarks.confusion_parts.registry import named
from benchmarks.zoo_parts.networks import Build
from sample_models.sample import Sample


@dataclass(frozen=True)
class Case:
    """A report, told in a sentence, and the causes any of which would be a right answer; none: nothing is wrong."""

    thread: str
    story: str
    expected: frozenset[str]
    make: Callable[[], Sample]


def replay(cases: list[Case], thread: str, story: str, *expected: str) -> Callable[[Callable[[], Sample]], None]:
    """Add what is decorated to the list."""

    def added(make: Callable[[], Sample]) -> None:
        cases.append(Case(thread, story, frozenset(expected), make))

    return added


def sample(
    name: str,
    build: Build,
    encoder: nn.Module,
    inputs: Tensor,
    labels: Tensor | None = None,
    **more: object,
) -> Sample:
    """A sample of an architecture of the zoo; `more` are fields of `Sample`."""
    shape, d = tuple(inputs.shape[1:]), _width(encoder)
    return Sample(
        build=named(f"casebook-{name}", lambda: build(shape, d)),
        inputs=inputs,
        labels=labels,
        **{"state": encoder.state_dict(), **more},  # type: ignore[arg-type]
    )


def _width(encoder: nn.Module) -> int:
    """Width of the last linear layer."""
    return [module.out_features for module in encoder.modules() if isinstance(module, nn.Linear)][-1]
