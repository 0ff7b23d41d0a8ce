"""An activation with a backward of its own, right and wrong."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.autograd import Function


class Swish(Function):
    """``x σ(x)``, which saves its input only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: D102 - as torch calls it
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:  # noqa: D102 - as torch calls it
        (x,) = ctx.saved_tensors
        gate = x.sigmoid()
        return grads[0] * (gate + x * gate * (1 - gate))


class SwishOfWrongTerm(Swish):
    """The same, with the wrong sign of what comes of the gate."""

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:  # noqa: D102 - as torch calls it
        (x,) = ctx.saved_tensors
        gate = x.sigmoid()
        return grads[0] * (gate - x * gate * (1 - gate))


class OwnActivation(nn.Module):
    """A layer that applies one of them."""

    def __init__(self, function: type[Swish]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        given: Tensor = self.function.apply(x)
        return given


def with_own_activation(encoder: nn.Module, wrong_at: str = "") -> nn.Module:
    """Put it in place of each ReLU of a sequence; the wrong one at one of them."""
    for name, layer in list(encoder.named_children()):
        if isinstance(layer, nn.ReLU):
            setattr(encoder, name, OwnActivation(SwishOfWrongTerm if name == wrong_at else Swish))
    return encoder
