"""Models of timm, built as the weights need them: classes, input channels, no head."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from collapsecheck.errors import UsageError, did_you_mean, printable
from collapsecheck.models.architecture import Architecture, EmbeddingPlace, reproducible
from collapsecheck.models.uninitialised import uninitialised
from collapsecheck.models.weights import expected_shapes
from collapsecheck.recognition.alignment import Shapes
from collapsecheck.recognition.class_count import ClassAxis, class_axes, class_count
from collapsecheck.recognition.match import Match
from collapsecheck.recognition.wording import assumptions, reason

PREFIX = "timm:"
_COUNT = 11  # a number of classes that no model is published with


class TimmArchitecture(Architecture):
    """A model by its name in timm, never with weights of timm's own: nothing is downloaded.

    Parameters
    ----------
    arch
        The name, as `--arch timm:NAME` takes it.
    match
        How the weights were recognised, if they were.
    """

    def __init__(self, arch: str, match: Match | None = None) -> None:
        if find_spec("timm") is None:
            raise UsageError(f"--arch {PREFIX}{printable(arch)}: needs timm; pip install 'collapsecheck[timm]'")
        import timm

        if not timm.is_model(arch):
            hint = printable(did_you_mean(arch, timm.list_models()), 80)
            raise UsageError(f"--arch {PREFIX}{printable(arch)}: timm has no such model{hint}")
        self.name = f"timm {arch}"
        self._arch = arch
        self._match = match
        self._classifier = ""
        if match is not None:
            self.reason = reason(match)
            self.assumed = assumptions(match)
            self.ignorable = (*match.foreign, *match.outside)
            self.renamed = match.renamed

    def expected(self) -> Shapes:
        """Shapes of the weights with timm's default options."""
        return self._default

    def build(self, given: Shapes, *, complete: bool = False) -> nn.Module:
        """Choose the options so that the weights fit, and build."""
        with uninitialised() if complete else nullcontext():
            module = self._made("cpu", self.options(given)).float().eval()
        self._classifier = classifier(module)
        return module

    def embedding(self) -> EmbeddingPlace | None:
        """Return the input of the layer that makes the classes."""
        if not self._classifier:
            return EmbeddingPlace(reason="the model's output, as it has no classes")
        reason = f"the input of {self._classifier}, the classifier of a timm model"
        return EmbeddingPlace(layer=self._classifier, where="input", reason=reason)

    def options(self, given: Shapes) -> dict[str, Any]:
        """Return the options of `timm.create_model` with which weights of these shapes fit."""
        options: dict[str, Any] = {}
        stem = next((name for name, shape in self._default.items() if shape and len(shape) == 4 and shape[1] == 3), "")
        own = given.get(stem)
        if own and len(own) == 4 and own[1] != 3:
            options["in_chans"] = own[1]
        if self._match is not None and self._match.headless:
            return {**options, "num_classes": 0}
        classes = class_count(self.class_axes, given)
        return options if classes is None else {**options, "num_classes": classes}

    @cached_property
    def class_axes(self) -> tuple[ClassAxis, ...]:
        """Which sizes depend on the number of classes."""
        import timm

        published = timm.get_pretrained_cfg_value(self._arch, "num_classes")
        if not published or published == _COUNT:
            return ()
        return class_axes(
            lambda count: self._default if count == published else self.shapes(num_classes=count),
            (_COUNT, published),
        )

    def shapes(self, **options: Any) -> Shapes:
        """Shapes of the weights with these options of `timm.create_model`."""
        return expected_shapes(self.skeleton(**options))

    def skeleton(self, **options: Any) -> nn.Module:
        """Build without initialising anything, and where possible without memory."""
        with uninitialised():
            try:
                return self._made("meta", options)
            except (NotImplementedError, RuntimeError):  # some compute with numbers while they are built
                return self._made("cpu", options)

    @cached_property
    def _default(self) -> Shapes:
        return self.shapes()

    def _made(self, device: str, options: Mapping[str, Any]) -> nn.Module:
        import timm

        with warnings.catch_warnings(), reproducible(), torch.device(device):
            warnings.simplefilter("ignore")  # about options that the user did not choose
            module: nn.Module = timm.create_model(self._arch, pretrained=False, **options)
        return module


def classifier(module: nn.Module) -> str:
    """Name of the layer that makes the classes, "" if there is none."""
    get = getattr(module, "get_classifier", None)
    made = get() if get is not None else None
    one = made[0] if isinstance(made, tuple) else made
    if not isinstance(one, nn.Module) or isinstance(one, nn.Identity):
        return ""
    return next((name for name, part in module.named_modules() if part is one), "")
