"""Models of torchvision, built as the weights need them: number of classes, auxiliary heads, image size."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from math import isqrt
from typing import Any

import torch
from torch import nn
from torchvision import models

from collapsecheck.errors import UsageError, did_you_mean, printable
from collapsecheck.models.alignment import Shapes
from collapsecheck.models.architecture import Architecture, reproducible
from collapsecheck.models.uninitialised import uninitialised
from collapsecheck.models.weights import expected_shapes

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
_TWO_COUNTS = (7, 11)  # any two numbers of classes that no layer has by chance


class TorchvisionArchitecture(Architecture):
    """`--arch NAME`: never with weights of torchvision's own, so nothing is downloaded."""

    def __init__(self, arch: str) -> None:
        known = models.list_models()
        if arch not in known:
            hint = printable(did_you_mean(arch, known))
            raise UsageError(f"--arch {printable(arch)}: torchvision has no such model{hint}")
        self.arch_name = arch
        self.name = f"torchvision {arch}"
        self._builder = models.get_model_builder(arch)
        self._always: dict[str, Any] = {"weights": None}
        if "weights_backbone" in inspect.signature(self._builder).parameters:
            self._always["weights_backbone"] = None
        if "googlenet" in arch or "inception" in arch:
            self._always["init_weights"] = False  # takes half a minute

    def expected(self) -> Shapes:
        """Shapes of the weights with torchvision's default options."""
        return self._shapes()

    def build(self, given: Shapes, *, complete: bool = False) -> nn.Module:
        """Choose the options so that the weights fit, and build."""
        with uninitialised() if complete else nullcontext():
            return self._made("cpu", self._options(given)).float().eval()

    def _options(self, given: Shapes) -> dict[str, Any]:
        options: dict[str, Any] = {}
        default = self._shapes()
        if any(name.startswith(_AUXILIARY) for name in default) and not any(
            name.startswith(_AUXILIARY) for name in given
        ):
            options["aux_logits"] = False
        if any(name.startswith("aux_classifier.") for name in given):
            options["aux_loss"] = True
        size = _image_size(given)
        if size is not None and given.get("encoder.pos_embedding") != default.get("encoder.pos_embedding"):
            options["image_size"] = size
        classes = self._classes(given)
        return options if classes is None else {**options, "num_classes": classes}

    def _classes(self, given: Shapes) -> int | None:
        """Return the number of classes of the weights.

        Two skeletons that differ in nothing but the number of classes tell which tensors depend on it, and
        how: this holds for heads of classifiers as well as of detectors.
        """
        low, high = _TWO_COUNTS
        try:
            few, many = self._shapes(num_classes=low), self._shapes(num_classes=high)
        except (TypeError, ValueError):
            return None  # a model without classes
        for name, shape in few.items():
            other, own = many.get(name), given.get(name)
            if not shape or not other or not own or shape == other or len(own) != len(shape):
                continue
            axis = next(axis for axis, size in enumerate(shape) if size != other[axis])
            times = (other[axis] - shape[axis]) // (high - low)
            more, rest = divmod(own[axis] - shape[axis], times)
            if rest == 0 and low + more >= 1:
                return low + more
        return None

    def _shapes(self, **options: Any) -> Shapes:
        with uninitialised():
            try:
                return expected_shapes(self._made("meta", options))
            except NotImplementedError:  # RegNets compute with numbers while they are built
                return expected_shapes(self._made("cpu", options))

    def _made(self, device: str, options: Mapping[str, Any]) -> nn.Module:
        with warnings.catch_warnings(), reproducible(), torch.device(device):
            warnings.simplefilter("ignore")  # about options that the user did not choose
            module: nn.Module = self._builder(**self._always, **options)
        return module


def _image_size(given: Shapes) -> int | None:
    """Side of the images of a vision transformer, from its grid of patches."""
    positions, patches = given.get("encoder.pos_embedding"), given.get("conv_proj.weight")
    if positions is None or patches is None or len(positions) != 3 or len(patches) != 4:
        return None
    return isqrt(positions[1] - 1) * patches[-1] if positions[1] > 1 else None
