"""Custom functions in a model: right ones, and the same mistakes that people make in writing a backward."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

WIDTH = 16


class Holder(nn.Module):
    """A linear layer, and behind it something custom that is given its output and parameters."""

    def __init__(self, call: Callable[..., Any], *shapes: tuple[int, ...], offset: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.call = call
        generator = torch.Generator().manual_seed(3)
        self.own = nn.ParameterList(
            nn.Parameter(offset + 0.3 * torch.randn(shape, generator=generator)) for shape in shapes
        )

    def forward(self, x: Tensor) -> Tensor:
        given = self.call(self.linear(x), *self.own)
        return given.flatten(1) if given.ndim > 1 and len(given) == len(x) else x.mean(1, keepdim=True) + given.sum()


Build = Callable[[], nn.Module]
RIGHT: dict[str, Build] = {}
WRONG: dict[str, Build] = {}
DELIBERATE: dict[str, Build] = {}


def kept(into: dict[str, Build], *shapes: tuple[int, ...], call: Callable[..., Any] | None = None, offset: float = 1.0):  # type: ignore[no-untyped-def]
    """Put a function into a model, and that into a list under its name."""

    def keep(kind: type[Function]) -> type[Function]:
        made = call(kind) if call else kind.apply
        into[kind.__name__] = lambda: Holder(made, *shapes, offset=offset)
        return kind

    return keep


# ---- right ones


@kept(RIGHT)
class Swish(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = x.sigmoid()
        return grad * (s + x * s * (1 - s))


@kept(RIGHT)
class Mish(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * nn.functional.softplus(x).tanh()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        t = nn.functional.softplus(x).tanh()
        return grad * (t + x * x.sigmoid() * (1 - t * t))


@kept(RIGHT)
class SigmoidOfOutput(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.sigmoid()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y * (1 - y)


@kept(RIGHT)
class TanhSetup(Function):
    @staticmethod
    def forward(x):
        return x.tanh()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (1 - y * y)


@kept(RIGHT, call=lambda kind: lambda x: kind.apply(torch.relu(x)))
class ReluOfTies(Function):
    """Half of what it gets is exactly at its kink."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x > 0)


@kept(RIGHT, call=lambda kind: lambda x: kind.apply(x, -0.3, 0.4))
class Clamp(Function):
    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ((x >= ctx.low) & (x <= ctx.high)), None, None


@kept(RIGHT, call=lambda kind: lambda x: kind.apply(x.clamp(-0.2, 0.2)))
class HardtanhOfTies(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(-0.2, 0.2)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() < 0.2)


@kept(RIGHT, call=lambda kind: lambda x: kind.apply(torch.relu(x)))
class RowMaximum(Function):
    @staticmethod
    def forward(ctx, x):
        values, where = x.max(1, keepdim=True)
        ctx.save_for_backward(where)
        ctx.shape = x.shape
        return values

    @staticmethod
    def backward(ctx, grad):
        (where,) = ctx.saved_tensors
        return grad.new_zeros(ctx.shape).scatter(1, where, grad)


@kept(RIGHT, call=lambda kind: lambda x: kind.apply(x)[0])
class MaximumWithIndex(Function):
    @staticmethod
    def forward(ctx, x):
        values, where = x.max(1)
        ctx.save_for_backward(where)
        ctx.mark_non_differentiable(where)
        ctx.shape = x.shape
        return values[:, None], where

    @staticmethod
    def backward(ctx, grad, _):
        (where,) = ctx.saved_tensors
        return grad.new_zeros(ctx.shape).scatter(1, where[:, None], grad)


@kept(RIGHT)
class Sorted(Function):
    @staticmethod
    def forward(ctx, x):
        values, order = x.sort(1)
        ctx.save_for_backward(order)
        return values

    @staticmethod
    def backward(ctx, grad):
        (order,) = ctx.saved_tensors
        return torch.zeros_like(grad).scatter(1, order, grad)


@kept(RIGHT)
class TopFour(Function):
    @staticmethod
    def forward(ctx, x):
        mask = x >= x.topk(4, 1).values[:, -1:]
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx, grad):
        (mask,) = ctx.saved_tensors
        return grad * mask


@kept(RIGHT, (8, WIDTH), (8,))
class CustomLinear(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.mT + bias

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        gx = grad @ weight if ctx.needs_input_grad[0] else None
        gw = grad.mT @ x if ctx.needs_input_grad[1] else None
        gb = grad.sum(0) if ctx.needs_input_grad[2] else None
        return gx, gw, gb


@kept(RIGHT, (WIDTH,), (WIDTH,))
class CustomLayerNorm(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        deviation = (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        unit = (x - x.mean(1, keepdim=True)) / deviation
        ctx.save_for_backward(unit, deviation, weight)
        return unit * weight + bias

    @staticmethod
    def backward(ctx, grad):
        unit, deviation, weight = ctx.saved_tensors
        g = grad * weight
        gx = (g - g.mean(1, keepdim=True) - unit * (g * unit).mean(1, keepdim=True)) / deviation
        return gx, (grad * unit).sum(0), grad.sum(0)


@kept(RIGHT)
class Softmax(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.softmax(1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return y * (grad - (grad * y).sum(1, keepdim=True))


@kept(RIGHT, (WIDTH,))
class BiasGelu(Function):
    @staticmethod
    def forward(ctx, x, bias):
        ctx.save_for_backward(x + bias)
        return nn.functional.gelu(x + bias)

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        slope = 0.5 * (1 + torch.erf(z / math.sqrt(2))) + z * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return grad * slope, (grad * slope).sum(0)


@kept(RIGHT, call=lambda kind: lambda x: kind.apply(x.view(-1, 4, 4), x.view(-1, 4, 4) * 2, x.view(-1, 4, 4) + 1))
class Attention(Function):
    @staticmethod
    def forward(ctx, q, k, v):
        weights = (q @ k.mT / 2).softmax(-1)
        ctx.save_for_backward(q, k, v, weights)
        return weights @ v

    @staticmethod
    def backward(ctx, grad):
        q, k, v, weights = ctx.saved_tensors
        gw = grad @ v.mT
        gs = weights * (gw - (gw * weights).sum(-1, keepdim=True)) / 2
        return gs @ k, gs.mT @ q, weights.mT @ grad


@kept(RIGHT, (3, 1, 3, 3), call=lambda kind: lambda x, w: kind.apply(x.view(-1, 1, 4, 4), w))
class Convolution(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return nn.functional.conv2d(x, weight, padding=1)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        gx = torch.nn.grad.conv2d_input(x.shape, weight, grad, padding=1)
        return gx, torch.nn.grad.conv2d_weight(x, weight.shape, grad, padding=1)


@kept(RIGHT)
class ReluInPlace(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        x.clamp_(min=0)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (y > 0)


@kept(RIGHT, call=lambda kind: lambda x: sum(kind.apply(x)))
class SineAndCosine(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, of_sine, of_cosine):
        (x,) = ctx.saved_tensors
        grad = torch.zeros_like(x)
        if of_sine is not None:
            grad = grad + of_sine * x.cos()
        if of_cosine is not None:
            grad = grad - of_cosine * x.sin()
        return grad


@kept(RIGHT)
class DropoutOfMask(Function):
    @staticmethod
    def forward(ctx, x):
        mask = (torch.rand_like(x) > 0.5) * 2
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx, grad):
        (mask,) = ctx.saved_tensors
        return grad * mask


@kept(RIGHT, call=lambda kind: lambda x: kind.apply(x, x > 0, torch.zeros(())))
class Where(Function):
    @staticmethod
    def forward(ctx, x, mask, other):
        ctx.save_for_backward(mask)
        return torch.where(mask, x, other)

    @staticmethod
    def backward(ctx, grad):
        (mask,) = ctx.saved_tensors
        return grad * mask, None, None


@kept(RIGHT)
class BatchCentred(Function):
    @staticmethod
    def forward(ctx, x):
        return x - x.mean(0)

    @staticmethod
    def backward(ctx, grad):
        return grad - grad.mean(0)


@kept(RIGHT)
class UnitLength(Function):
    @staticmethod
    def forward(ctx, x):
        length = x.norm(dim=1, keepdim=True)
        ctx.save_for_backward(x / length, length)
        return x / length

    @staticmethod
    def backward(ctx, grad):
        unit, length = ctx.saved_tensors
        return (grad - unit * (grad * unit).sum(1, keepdim=True)) / length


@kept(RIGHT)
class SingleInside(Function):
    """Computes in single precision, whatever it is given."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.float().exp().to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return (grad.float() * x.float().exp()).to(x.dtype)


@kept(RIGHT)
class HalfInside(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.bfloat16().exp().to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x.bfloat16().exp().to(x.dtype)


@kept(RIGHT, call=lambda kind: lambda x: kind.apply(torch.complex(x, x.cos())).abs())
class ComplexSquare(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z * z

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * 2 * z.conj()


@kept(RIGHT, call=lambda kind: lambda x: kind.apply(torch.einsum("ni,nj->nij", x[:, :4], x[:, :4]) + torch.eye(4)))
class Eigenvalues(Function):
    """Reads one half of a symmetric matrix only."""

    @staticmethod
    def forward(ctx, x):
        values, vectors = torch.linalg.eigh(x)
        ctx.save_for_backward(vectors)
        return values[:, 2:]

    @staticmethod
    def backward(ctx, grad):
        (vectors,) = ctx.saved_tensors
        return torch.einsum("nik,nk,njk->nij", vectors[..., 2:], grad, vectors[..., 2:])


@kept(RIGHT)
class LogSumExp(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.logsumexp(1, keepdim=True)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * (x - y).exp()


@kept(RIGHT)
class SmoothL1(Function):
    """A loss: one number for all."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x.abs() < 0.5, x * x, x.abs() - 0.25).mean()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.where(x.abs() < 0.5, 2 * x, x.sign()) / x.numel()


@kept(RIGHT)
class Hardshrink(Function):
    """Jumps, but is differentiable beside."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * (x.abs() > 0.3)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() > 0.3)


# ---- on purpose not the derivative


@kept(DELIBERATE)
class RoundSTE(Function):
    @staticmethod
    def forward(ctx, x):
        return (4 * x).round() / 4

    @staticmethod
    def backward(ctx, grad):
        return grad


@kept(DELIBERATE)
class SignClippedSTE(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


@kept(DELIBERATE)
class SpikeSurrogate(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0.1).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (1 + (3 * (x - 0.1)) ** 2)


@kept(DELIBERATE)
class ReverseGradient(Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -0.3 * grad


@kept(DELIBERATE)
class StopGradient(Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return None


@kept(DELIBERATE)
class ClipGradient(Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad.clamp(-0.1, 0.1)


@kept(DELIBERATE)
class TanhClipped(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return (grad * (1 - y * y)).clamp(-0.05, 0.05)


@kept(DELIBERATE, ())
class LearntStepSize(Function):
    """LSQ (Esser et al. 2020)."""

    @staticmethod
    def forward(ctx, x, step):
        ctx.save_for_backward(x, step)
        return (x / step).clamp(-2, 3).round() * step

    @staticmethod
    def backward(ctx, grad):
        x, step = ctx.saved_tensors
        q = x / step
        inside = (q >= -2) & (q <= 3)
        of_step = torch.where(inside, q.round() - q, q.clamp(-2, 3))
        return grad * inside, (grad * of_step).sum() / math.sqrt(3 * x.numel())


@kept(DELIBERATE)
class DynamicQuantiser(Function):
    @staticmethod
    def forward(ctx, x):
        scale = x.abs().max() / 7
        return (x / scale).round() * scale

    @staticmethod
    def backward(ctx, grad):
        return grad


@kept(DELIBERATE)
class BinaryWithScale(Function):
    """XNOR-Net (Rastegari et al. 2016)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign() * x.abs().mean()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


@kept(DELIBERATE, call=lambda kind: lambda x: kind.apply(x, x.round().detach()))
class VectorQuantised(Function):
    @staticmethod
    def forward(ctx, x, code):
        return code.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad, None


@kept(DELIBERATE)
class GuidedRelu(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad.clamp(min=0) * (x > 0)


@kept(DELIBERATE)
class LowerBound(Function):
    """Passes what would lead back into the range, as in learnt compression (Ballé et al. 2018)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0.1)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ((x >= 0.1) | (grad < 0))


@kept(DELIBERATE, call=lambda kind: lambda x: kind.apply(4 * x))
class GeluByTanh(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return nn.functional.gelu(x, approximate="tanh")

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * (0.5 * (1 + torch.erf(z / math.sqrt(2))) + z * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi))


# ---- wrong ones


@kept(WRONG)
class SwishSign(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = x.sigmoid()
        return -grad * (s + x * s * (1 - s))


@kept(WRONG)
class SwishMissingTerm(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x.sigmoid()


@kept(WRONG)
class SquareOnce(Function):
    """Uses what it gets twice, and counts it once."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x


@kept(WRONG)
class TanhOfInput(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (1 - y * y)


@kept(WRONG)
class ReluWithoutMask(Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        return grad


@kept(WRONG)
class ReluChangesGradient(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        grad[x <= 0] = 0
        return grad


@kept(WRONG)
class ExpChangesSaved(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.y = x.exp()
        return ctx.y.clone()

    @staticmethod
    def backward(ctx, grad):
        return ctx.y.mul_(grad)


@kept(WRONG)
class SquareOnClass(Function):
    """Keeps on the class what belongs to the call."""

    @staticmethod
    def forward(ctx, x):
        SquareOnClass.saved = x
        return x * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad * SquareOnClass.saved


@kept(WRONG)
class ChangesInput(Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(2)
        return x.exp()

    @staticmethod
    def backward(ctx, grad):
        return grad


@kept(WRONG, (8, WIDTH), (8,))
class LinearBiasMean(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.mT + bias

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight, grad.mT @ x, grad.mean(0)


@kept(WRONG, (WIDTH, WIDTH))
class LinearTransposed(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight.mT

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight.mT, grad.mT @ x


@kept(WRONG, (WIDTH,), (WIDTH,))
class LayerNormNoMean(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        deviation = (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        unit = (x - x.mean(1, keepdim=True)) / deviation
        ctx.save_for_backward(unit, deviation, weight)
        return unit * weight + bias

    @staticmethod
    def backward(ctx, grad):
        unit, deviation, weight = ctx.saved_tensors
        g = grad * weight
        return (g - unit * (g * unit).mean(1, keepdim=True)) / deviation, (grad * unit).sum(0), grad.sum(0)


@kept(WRONG, (WIDTH,), call=lambda kind: kind.apply, offset=1.0)
class ScaleNoWeight(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx, grad):
        x, _ = ctx.saved_tensors
        return grad, (grad * x).sum(0)


@kept(WRONG)
class SoftmaxDiagonal(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.softmax(1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y * (1 - y)


@kept(WRONG, call=lambda kind: lambda x: kind.apply(x.view(-1, 4, 4), x.view(-1, 4, 4) * 2, x.view(-1, 4, 4) + 1))
class AttentionNoScale(Function):
    @staticmethod
    def forward(ctx, q, k, v):
        weights = (q @ k.mT / 2).softmax(-1)
        ctx.save_for_backward(q, k, v, weights)
        return weights @ v

    @staticmethod
    def backward(ctx, grad):
        q, k, v, weights = ctx.saved_tensors
        gw = grad @ v.mT
        gs = weights * (gw - (gw * weights).sum(-1, keepdim=True))
        return gs @ k, gs.mT @ q, weights.mT @ grad


@kept(WRONG, (3, 1, 3, 3), call=lambda kind: lambda x, w: kind.apply(x.view(-1, 1, 4, 4), w))
class ConvolutionFlipped(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return nn.functional.conv2d(x, weight, padding=1)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        gx = nn.functional.conv2d(grad, weight.transpose(0, 1), padding=1)
        return gx, torch.nn.grad.conv2d_weight(x, weight.shape, grad, padding=1)


@kept(WRONG)
class IgnoresGradient(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square().mean()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x / x.numel()


@kept(WRONG, (WIDTH,))
class NoneForWeight(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(weight)
        return x * weight

    @staticmethod
    def backward(ctx, grad):
        (weight,) = ctx.saved_tensors
        return grad * weight, None


@kept(WRONG, (WIDTH,))
class TooFewGradients(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(weight)
        return x * weight

    @staticmethod
    def backward(ctx, grad):
        (weight,) = ctx.saved_tensors
        return grad * weight


@kept(WRONG)
class DropoutAnew(Function):
    """Draws another mask in the backward."""

    @staticmethod
    def forward(ctx, x):
        return x * (torch.rand_like(x) > 0.5) * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * (torch.rand_like(grad) > 0.5) * 2


@kept(WRONG)
class SortedNotBack(Function):
    @staticmethod
    def forward(ctx, x):
        values, order = x.sort(1)
        ctx.save_for_backward(order)
        return values

    @staticmethod
    def backward(ctx, grad):
        (order,) = ctx.saved_tensors
        return grad.gather(1, order)


@kept(WRONG, call=lambda kind: lambda x: sum(kind.apply(x)))
class SecondOutputSign(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, of_sine, of_cosine):
        (x,) = ctx.saved_tensors
        return of_sine * x.cos() + of_cosine * x.sin()


@kept(WRONG, call=lambda kind: lambda x: kind.apply(x, x.cos()))
class ProductSwapped(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad * a, grad * b


@kept(WRONG)
class SingleInsideScale(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.float().exp().to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 1.2 * grad * x.exp()


@kept(WRONG)
class OneBorderWrong(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        given = grad * x.cos()
        given[-1, -1] = 0
        return given


@kept(WRONG)
class HardshrinkDouble(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * (x.abs() > 0.3)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * grad * (x.abs() > 0.3)


@kept(WRONG)
class SavedAfterwards(Function):
    """Changes what it saved after saving it."""

    @staticmethod
    def forward(ctx, x):
        y = x.clone()
        ctx.y = y
        out = y.square()
        y.add_(1)
        return out

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad * ctx.y


@kept(WRONG, (1, WIDTH))
class BroadcastSum(Function):
    """Sums over the wrong axis."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad * weight, (grad * x).sum(1).mean() * torch.ones_like(weight)
