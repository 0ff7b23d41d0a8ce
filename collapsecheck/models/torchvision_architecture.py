"""Models of torchvision, built as the weights need them: classes, auxiliary heads, image size, channels, no head."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from functools import cached_property
from math import isqrt
from typing import Any

import torch
from torch import nn
from torchvision import models

from collapsecheck.errors import UsageError, did_you_mean, printable
from collapsecheck.models.adaptation import follow_channels, take_off
from collapsecheck.models.architecture import Architecture, EmbeddingPlace, reproducible
from collapsecheck.models.uninitialised import uninitialised
from collapsecheck.models.weights import expected_shapes
from collapsecheck.recognition.alignment import Shapes
from collapsecheck.recognition.class_count import ClassAxis, class_axes, class_count
from collapsecheck.recognition.match import Match
from collapsecheck.recognition.wording import assumptions, reason

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
POSITIONS = "encoder.pos_embedding"  # of vision transformers: one row per patch
_NOT_CLASSIFIERS = ("detection", "segmentation", "optical_flow")


class TorchvisionArchitecture(Architecture):
    """A model by its name in torchvision: never with weights of torchvision's own, so nothing is downloaded.

    Parameters
    ----------
    arch
        The name, as `--arch` takes it.
    match
        How the weights were recognised, if they were.
    """

    def __init__(self, arch: str, match: Match | None = None) -> None:
        known = models.list_models()
        if arch not in known:
            hint = printable(did_you_mean(arch, known))
            raise UsageError(f"--arch {printable(arch)}: torchvision has no such model{hint}")
        self.arch_name = arch
        self.name = f"torchvision {arch}"
        self._match = match
        if match is not None:
            self.reason = reason(match)
            self.assumed = assumptions(match)
            self.ignorable = (*match.foreign, *match.outside)
            self.renamed = match.renamed
        self._builder = models.get_model_builder(arch)
        self._always: dict[str, Any] = {"weights": None}
        if "weights_backbone" in inspect.signature(self._builder).parameters:
            self._always["weights_backbone"] = None
        if "googlenet" in arch or "inception" in arch:
            self._always["init_weights"] = False  # takes half a minute

    @property
    def classifies(self) -> bool:
        """Whether it gives classes for a whole image or video, rather than for its parts."""
        return not any(f".{kind}." in f"{self._builder.__module__}." for kind in _NOT_CLASSIFIERS)

    def expected(self) -> Shapes:
        """Shapes of the weights with torchvision's default options."""
        return self.shapes()

    def build(self, given: Shapes, *, complete: bool = False) -> nn.Module:
        """Choose the options so that the weights fit, and build."""
        with uninitialised() if complete else nullcontext():
            module = self._made("cpu", self.options(given))
            if self.classifies:
                with reproducible():
                    follow_channels(module, given)
            if self._match is not None and self._match.headless:
                take_off(module, [self._match.headless])
        return module.float().eval()

    def embedding(self) -> EmbeddingPlace | None:
        """Return the place of a head that is not in the file: its input is what the model was trained for."""
        part = self._match.headless if self._match is not None else ""
        if not part:
            return None
        reason = f"the input of {part}, the head, which is not in the file"
        return EmbeddingPlace(layer=part, where="input", reason=reason)

    def options(self, given: Shapes) -> dict[str, Any]:
        """Return the options of the builder with which weights of these shapes fit."""
        options: dict[str, Any] = {}
        default = self.shapes()
        if any(name.startswith(AUXILIARY) for name in default) and not any(
            name.startswith(AUXILIARY) for name in given
        ):
            options["aux_logits"] = False
        if any(name.startswith("aux_classifier.") for name in given):
            options["aux_loss"] = True
        size = _image_size(given)
        if size is not None and given.get(POSITIONS) != default.get(POSITIONS):
            options["image_size"] = size
        classes = class_count(self.class_axes, given)
        return options if classes is None else {**options, "num_classes": classes}

    @cached_property
    def class_axes(self) -> tuple[ClassAxis, ...]:
        """Which sizes depend on the number of classes."""
        return class_axes(lambda count: self.shapes(num_classes=count))

    def shapes(self, **options: Any) -> Shapes:
        """Shapes of the weights with these options of the builder."""
        return expected_shapes(self.skeleton(**options))

    def skeleton(self, **options: Any) -> nn.Module:
        """Build without initialising anything, and where possible without memory."""
        with uninitialised():
            try:
                return self._made("meta", options)
            except NotImplementedError:  # RegNets compute with numbers while they are built
                return self._made("cpu", options)

    def _made(self, device: str, options: Mapping[str, Any]) -> nn.Module:
        with warnings.catch_warnings(), reproducible(), torch.device(device):
            warnings.simplefilter("ignore")  # about options that the user did not choose
            module: nn.Module = self._builder(**self._always, **options)
        return module


def _image_size(given: Shapes) -> int | None:
    """Side of the images of a vision transformer, from its grid of patches."""
    positions, patches = given.get(POSITIONS), given.get("conv_proj.weight")
    if positions is None or patches is None or len(positions) != 3 or len(patches) != 4:
        return None
    return isqrt(positions[1] - 1) * patches[-1] if positions[1] > 1 else None
