"""The layer that makes the classes, in classifiers of torchvision."""

from __future__ import annotations

from torch import nn

_AUXILIARY = {"aux1", "aux2", "AuxLogits"}
_NOT_CLASSIFIERS = ("detection", "segmentation", "optical_flow")


def classifier_head(module: nn.Module) -> str | None:
    """Return the layer that makes the classes of a classifier of torchvision, None for any other model.

    It has to be the last layer with weights: where users replaced it by Identity, the last Linear is deep
    inside the model and means nothing.
    """
    family = type(module).__module__
    if not family.startswith("torchvision.models.") or any(word in family for word in _NOT_CLASSIFIERS):
        return None
    weighted = [
        (name, part)
        for name, part in module.named_modules()
        if is_weighted_leaf(part) and not _AUXILIARY & set(name.split("."))
    ]
    name, last = weighted[-1] if weighted else ("", module)
    if isinstance(last, nn.Linear):
        return name
    # SqueezeNet and S3D classify each position with a convolution, and average afterwards.
    positionwise = isinstance(last, nn.Conv2d | nn.Conv3d) and set(last.kernel_size) == {1}
    return name if positionwise and name.startswith("classifier.") else None


def is_weighted_leaf(module: nn.Module) -> bool:
    """Whether a module has parameters of its own and none inside it."""
    return not list(module.children()) and bool(list(module.parameters()))
