"""Small changes that users make to published models before training, made again: input channels, head taken off."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from collapsecheck.recognition.alignment import Shapes

_CONVOLUTIONS = nn.Conv2d | nn.Conv3d


def follow_channels(module: nn.Module, given: Shapes) -> None:
    """Let the first convolution take as many channels as its given weights do, if nothing else differs in them."""
    convolutions = ((name, one) for name, one in module.named_modules() if isinstance(one, _CONVOLUTIONS))
    name, first = next(convolutions, ("", None))
    shape = given.get(f"{name}.weight")
    if first is None or first.groups != 1 or not shape:
        return
    own = tuple(first.weight.shape)
    if len(shape) != len(own) or shape == own or (shape[0], *shape[2:]) != (own[0], *own[2:]) or shape[1] < 1:
        return
    put(
        module,
        name,
        type(first)(
            shape[1],
            first.out_channels,
            first.kernel_size,  # type: ignore[arg-type]
            first.stride,  # type: ignore[arg-type]
            first.padding,  # type: ignore[arg-type]
            first.dilation,  # type: ignore[arg-type]
            bias=first.bias is not None,
            padding_mode=first.padding_mode,
            device=first.weight.device,
        ),
    )


def take_off(module: nn.Module, parts: Iterable[str]) -> None:
    """Replace parts of a model by nothing."""
    for name in parts:
        put(module, name, nn.Identity())


def put(module: nn.Module, name: str, part: nn.Module) -> None:
    """Set the part of this dotted name."""
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, part)
