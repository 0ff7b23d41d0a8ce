"""What a checkpoint's weights go into: a module from the user's own code, or one of torchvision's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from torch import nn

from collapsecheck.datasets.model_input import ModelInput
from collapsecheck.errors import UsageError, printable
from collapsecheck.models.weights import Loading, expected_shapes
from collapsecheck.recognition.alignment import Shapes
from collapsecheck.user_code import in_one_line, load_callable, user_code


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingPlace:
    """Where the embedding is: a key of `named_modules()`, "" for the model itself, and the reason in a few words.

    `field` names the part that is meant where the model returns several.
    """

    layer: str = ""
    where: Literal["input", "output"] = "output"
    field: str = ""
    reason: str


class Architecture(ABC):
    """Something that makes a module; `name` is how reports call it.

    `arch_name` is torchvision's name, if it has one. `trust` says what was allowed to happen: with `data-only` the
    file gave numbers alone, with `known-classes` the names of classes that torch and torchvision ship, with `code`
    its own code ran. `reason` tells in a few words how the architecture was found, `assumed` what the weights do
    not tell and what was taken for it. Names that begin with one of `optional` may be missing in the file, those
    with one of `ignorable` may be left over: the embedding does not need them. `renamed` gives the module's names for
    names of the checkpoint, where they differ by more than a prefix. `takes` and `parameters` (their number) are for
    modules that do not show their layers: None where the module itself tells. `loading` is what became of the weights
    where `build` put them in itself.
    """

    name: str
    arch_name: str | None = None
    trust: Literal["data-only", "known-classes", "code"] = "data-only"
    reason: str = ""
    assumed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    ignorable: tuple[str, ...] = ()
    renamed: Mapping[str, str] = MappingProxyType({})
    takes: ModelInput | None = None
    parameters: int | None = None
    loading: Loading | None = None

    @abstractmethod
    def expected(self) -> Shapes | None:
        """Shapes of the weights, as far as they are known before the checkpoint was seen.

        None where `build` returns a module that has its weights already.
        """

    @abstractmethod
    def build(self, given: Shapes, *, complete: bool = False) -> nn.Module:
        """Make the module for weights of these names and shapes, in evaluation mode and float32.

        `complete` promises that all of its weights are about to be replaced: it need not initialise them.
        """

    def embedding(self) -> EmbeddingPlace | None:
        """Return where the embedding of the built module is, None where its layers have to tell."""
        return None


class UserArchitecture(Architecture):
    """`--model-def FILE_OR_MODULE:CALLABLE`: what the callable returns is the model."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        source, _, name = reference.rpartition(":")
        self.name = f"{Path(source).name}:{name}"

    def expected(self) -> Shapes:
        """Shapes of the weights of the module, which does not depend on the checkpoint."""
        return expected_shapes(self._module)

    def build(self, given: Shapes, *, complete: bool = False) -> nn.Module:  # noqa: ARG002 - the user decides
        """Return what the callable made."""
        return self._module

    @cached_property
    def _module(self) -> nn.Module:
        at = f"--model-def {printable(self._reference)}"
        make = load_callable(self._reference, option="--model-def")
        with user_code(self._reference), reproducible():
            try:
                made = make()
            except (Exception, SystemExit) as error:
                raise UsageError(f"{at}: calling it without arguments failed: {in_one_line(error)}") from error
        if not isinstance(made, nn.Module):
            raise UsageError(f"{at}: returned a {printable(type(made).__name__)}, expected a torch.nn.Module")
        if any(tensor.is_meta for tensor in (*made.parameters(), *made.buffers())):
            raise UsageError(f"{at}: made a model on the meta device, which cannot run; build it on the CPU")
        return made.float().eval()


def choose_architecture(model_def: str | None, arch: str | None) -> Architecture | None:
    """Return what the options ask for, None if they ask for nothing.

    Raises
    ------
    UsageError
        If they ask for two things, or for an unknown one.
    """
    if model_def is not None and arch is not None:
        raise UsageError("--model-def and --arch are both given; each names the model, give one of them")
    if model_def is not None:
        return UserArchitecture(model_def)
    if arch is not None and arch.startswith("timm:"):
        from collapsecheck.models.timm_architecture import TimmArchitecture

        return TimmArchitecture(arch.removeprefix("timm:"))
    if arch is not None:
        from collapsecheck.models.torchvision_architecture import TorchvisionArchitecture

        return TorchvisionArchitecture(arch)
    return None


@contextmanager
def reproducible() -> Iterator[None]:
    """Give every build the same random numbers: with --allow-partial some of them stay in the model."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield
