"""More functions, written when the rules were set, to see how far they reach."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - as people call it
from torch import Tensor
from torch.autograd import Function

from .functions import WIDTH, Build, kept

RIGHT: dict[str, Build] = {}
WRONG: dict[str, Build] = {}
DELIBERATE: dict[str, Build] = {}


# ---- right
@kept(RIGHT, (WIDTH,))
class RMSNorm(Function):
    @staticmethod
    def forward(ctx, x, w):
        r = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        ctx.save_for_backward(x, w, r)
        return x * r * w

    @staticmethod
    def backward(ctx, g):
        x, w, r = ctx.saved_tensors
        gw = g * w
        return r * gw - x * r**3 * (gw * x).mean(-1, keepdim=True), (g * x * r).sum(0)


@kept(RIGHT)
class ELUOut(Function):
    @staticmethod
    def forward(ctx, x):
        y = F.elu(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return torch.where(y > 0, g, g * (y + 1))


@kept(RIGHT)
class CumSum(Function):
    @staticmethod
    def forward(ctx, x):
        return x.cumsum(1)

    @staticmethod
    def backward(ctx, g):
        return g.flip(1).cumsum(1).flip(1)


@kept(RIGHT, (3, WIDTH))
class RBF(Function):
    @staticmethod
    def forward(ctx, x, c):
        d = x[:, None] - c[None]
        k = torch.exp(-(d**2).sum(-1) / 8)
        ctx.save_for_backward(d, k)
        return k

    @staticmethod
    def backward(ctx, g):
        d, k = ctx.saved_tensors
        t = -(g * k)[..., None] * d / 4
        return t.sum(1), -t.sum(0)


@kept(
    RIGHT,
    call=lambda k: (
        lambda x: k.apply(
            x,
            torch.arange(8) % 4,
        )
    ),
)
class CrossEntropy(Function):
    @staticmethod
    def forward(ctx, x, t):
        p = x.softmax(1)
        ctx.save_for_backward(p, t)
        return F.cross_entropy(x, t)

    @staticmethod
    def backward(ctx, g):
        p, t = ctx.saved_tensors
        return g * (p - F.one_hot(t, p.shape[1])) / len(p), None


@kept(RIGHT, call=lambda k: lambda x: k.apply(x.view(-1, 1, 4, 4)))
class AvgPool(Function):
    @staticmethod
    def forward(ctx, x):
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx, g):
        return g.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4


@kept(RIGHT, call=lambda k: lambda x: k.apply(torch.relu(x).view(-1, 1, 4, 4)))
class MaxPool(Function):
    @staticmethod
    def forward(ctx, x):
        y, i = F.max_pool2d(x, 2, return_indices=True)
        ctx.save_for_backward(i)
        ctx.s = x.shape
        return y

    @staticmethod
    def backward(ctx, g):
        (i,) = ctx.saved_tensors
        return F.max_unpool2d(g, i, 2, output_size=ctx.s)


@kept(RIGHT, call=lambda k: lambda x: k.apply(torch.relu(x)))
class SqrtEps(Function):
    @staticmethod
    def forward(ctx, x):
        y = (x + 1e-4).sqrt()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g / (2 * y)


@kept(RIGHT, (4, WIDTH), (4, 4), (4,))
class RNNLoop(Function):
    @staticmethod
    def forward(ctx, x, wi, wh, b):
        h = x.new_zeros(len(x), 4)
        hs = [h]
        for t in range(4):
            h = torch.tanh((x * (t + 1) / 4) @ wi.t() + h @ wh.t() + b)
            hs.append(h)
        ctx.save_for_backward(x, wi, wh, *hs)
        return h

    @staticmethod
    def backward(ctx, g):
        x, wi, wh, *hs = ctx.saved_tensors
        gx = torch.zeros_like(x)
        gi = torch.zeros_like(wi)
        gh = torch.zeros_like(wh)
        gb = x.new_zeros(4)
        for t in reversed(range(4)):
            a = g * (1 - hs[t + 1] ** 2)
            xt = x * (t + 1) / 4
            gx += a @ wi * (t + 1) / 4
            gi += a.t() @ xt
            gh += a.t() @ hs[t]
            gb += a.sum(0)
            g = a @ wh
        return gx, gi, gh, gb


@kept(RIGHT, (), offset=0.25)
class PReLUScalar(Function):
    @staticmethod
    def forward(ctx, x, a):
        ctx.save_for_backward(x, a)
        return torch.where(x > 0, x, a * x)

    @staticmethod
    def backward(ctx, g):
        x, a = ctx.saved_tensors
        return torch.where(x > 0, g, a * g), (g * x * (x <= 0)).sum()


@kept(RIGHT, call=lambda k: lambda x: k.apply(torch.bmm(x.view(-1, 4, 4), x.view(-1, 4, 4).mT) + torch.eye(4)))
class LogDet(Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return torch.logdet(a)[:, None]

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g[..., None] * torch.linalg.inv(a).mT


@kept(RIGHT, (WIDTH,), call=lambda k: lambda x, m: k.apply(x, m.detach().clone()))
class RunningMean(Function):
    @staticmethod
    def forward(ctx, x, m):
        m.mul_(0.9).add_(0.1 * x.mean(0))
        return x - x.mean(0)

    @staticmethod
    def backward(ctx, g):
        return g - g.mean(0), None


@kept(RIGHT)
class Sparsemax(Function):
    @staticmethod
    def forward(ctx, x):
        z = x.sort(1, descending=True).values
        k = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)
        s = (1 + k * z > z.cumsum(1)).sum(1, keepdim=True)
        tau = (z.cumsum(1).gather(1, s - 1) - 1) / s
        y = (x - tau).clamp(min=0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        m = (y > 0).to(g)
        return m * (g - (g * m).sum(1, keepdim=True) / m.sum(1, keepdim=True))


@kept(RIGHT, call=lambda k: lambda x: torch.cat(k.apply(x, 3), 1))
class Chunked(Function):
    @staticmethod
    def forward(ctx, x, n):
        a = x[:, :n].exp()
        ctx.save_for_backward(a)
        return a, x[:, n:] * 2

    @staticmethod
    def backward(ctx, a, b):
        (e,) = ctx.saved_tensors
        return torch.cat([a * e, b * 2], 1), None


@kept(RIGHT, call=lambda k: lambda x: k.apply(x, 1e-3))
class L2Proj(Function):
    """projects into the unit ball: kink on the sphere"""

    @staticmethod
    def forward(ctx, x, eps):
        n = x.norm(dim=1, keepdim=True)
        ctx.save_for_backward(x, n)
        return torch.where(n > 1 - eps, x / n * (1 - eps), x)

    @staticmethod
    def backward(ctx, g):
        x, n = ctx.saved_tensors
        e = 1 - 1e-3
        u = x / n
        return torch.where(n > e, e * (g - u * (g * u).sum(1, keepdim=True)) / n, g), None


@kept(RIGHT, call=lambda k: lambda x: k.apply(1e-4 * x))
class Tiny(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 1 + x.sin() * 1e-3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.cos() * 1e-3


@kept(RIGHT, call=lambda k: lambda x: k.apply(x * 1e4))
class Huge(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sign(x) * torch.log1p(x.abs())

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g / (1 + x.abs())


# ---- deliberate
@kept(DELIBERATE)
class Int8Fake(Function):
    @staticmethod
    def forward(ctx, x):
        s = x.abs().amax(1, keepdim=True) / 127
        return torch.clamp((x / s).round(), -128, 127) * s

    @staticmethod
    def backward(ctx, g):
        return g


@kept(DELIBERATE, call=lambda k: lambda x: k.apply(x, x.pow(2).mean()))
class AuxLoss(Function):
    @staticmethod
    def forward(ctx, x, loss):
        ctx.d = loss.dtype
        return x

    @staticmethod
    def backward(ctx, g):
        return g, torch.ones((), dtype=ctx.d)


@kept(DELIBERATE, call=lambda k: lambda x: k.apply(x.sigmoid()))
class Bernoulli(Function):
    @staticmethod
    def forward(ctx, p):
        return torch.bernoulli(p)

    @staticmethod
    def backward(ctx, g):
        return g


@kept(DELIBERATE)
class OneHotArgmax(Function):
    @staticmethod
    def forward(ctx, x):
        s = x.softmax(1)
        ctx.save_for_backward(s)
        return F.one_hot(x.argmax(1), x.shape[1]).to(x)

    @staticmethod
    def backward(ctx, g):
        (s,) = ctx.saved_tensors
        return s * (g - (g * s).sum(1, keepdim=True))


@kept(DELIBERATE)
class TernaryScaled(Function):
    @staticmethod
    def forward(ctx, x):
        d = 0.7 * x.abs().mean()
        m = x.abs() > d
        a = (x.abs() * m).sum() / m.sum()
        return a * x.sign() * m

    @staticmethod
    def backward(ctx, g):
        return g


@kept(DELIBERATE)
class NormGrad(Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return g / g.norm()


# ---- wrong
@kept(WRONG, (WIDTH,))
class RMSNormNoTerm(Function):
    @staticmethod
    def forward(ctx, x, w):
        r = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        ctx.save_for_backward(x, w, r)
        return x * r * w

    @staticmethod
    def backward(ctx, g):
        x, w, r = ctx.saved_tensors
        return r * g * w, (g * x * r).sum(0)


@kept(WRONG)
class ELUOutWrong(Function):
    @staticmethod
    def forward(ctx, x):
        y = F.elu(x)
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return torch.where(y > 0, g, g * (y + 1))


@kept(WRONG)
class CumSumFwd(Function):
    @staticmethod
    def forward(ctx, x):
        return x.cumsum(1)

    @staticmethod
    def backward(ctx, g):
        return g.cumsum(1)


@kept(WRONG, (3, WIDTH))
class RBFSign(Function):
    @staticmethod
    def forward(ctx, x, c):
        d = x[:, None] - c[None]
        k = torch.exp(-(d**2).sum(-1) / 8)
        ctx.save_for_backward(d, k)
        return k

    @staticmethod
    def backward(ctx, g):
        d, k = ctx.saved_tensors
        t = -(g * k)[..., None] * d / 4
        return t.sum(1), t.sum(0)


@kept(
    WRONG,
    call=lambda k: (
        lambda x: k.apply(
            x,
            torch.arange(8) % 4,
        )
    ),
)
class CENoMean(Function):
    @staticmethod
    def forward(ctx, x, t):
        p = x.softmax(1)
        ctx.save_for_backward(p, t)
        return F.cross_entropy(x, t)

    @staticmethod
    def backward(ctx, g):
        p, t = ctx.saved_tensors
        return g * (p - F.one_hot(t, p.shape[1])), None


@kept(WRONG, call=lambda k: lambda x: k.apply(x.view(-1, 1, 4, 4)))
class AvgPoolNoDiv(Function):
    @staticmethod
    def forward(ctx, x):
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx, g):
        return g.repeat_interleave(2, 2).repeat_interleave(2, 3)


@kept(WRONG, call=lambda k: lambda x: k.apply(torch.relu(x).view(-1, 1, 4, 4)))
class MaxPoolAll(Function):
    @staticmethod
    def forward(ctx, x):
        y = F.max_pool2d(x, 2)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        return g.repeat_interleave(2, 2).repeat_interleave(2, 3)


@kept(WRONG, (4, WIDTH), (4, 4), (4,))
class RNNLast(Function):
    @staticmethod
    def forward(ctx, x, wi, wh, b):
        h = x.new_zeros(len(x), 4)
        hs = [h]
        for _ in range(4):
            h = torch.tanh(x @ wi.t() + h @ wh.t() + b)
            hs.append(h)
        ctx.save_for_backward(x, wi, wh, *hs)
        return h

    @staticmethod
    def backward(ctx, g):
        x, wi, wh, *hs = ctx.saved_tensors
        gx = torch.zeros_like(x)
        gi = torch.zeros_like(wi)
        gh = torch.zeros_like(wh)
        gb = x.new_zeros(4)
        for t in reversed(range(4)):
            a = g * (1 - hs[t + 1] ** 2)
            gx = a @ wi
            gi += a.t() @ x
            gh += a.t() @ hs[t]
            gb += a.sum(0)
            g = a @ wh
        return gx, gi, gh, gb


@kept(WRONG, (), offset=0.25)
class PReLUMean(Function):
    @staticmethod
    def forward(ctx, x, a):
        ctx.save_for_backward(x, a)
        return torch.where(x > 0, x, a * x)

    @staticmethod
    def backward(ctx, g):
        x, a = ctx.saved_tensors
        return torch.where(x > 0, g, a * g), (g * x * (x > 0)).sum()


@kept(WRONG)
class GlobalCache(Function):
    cache: ClassVar[list[Tensor]] = []

    @staticmethod
    def forward(ctx, x):
        GlobalCache.cache.append(x.detach())
        return x.cos()

    @staticmethod
    def backward(ctx, g):
        return -g * GlobalCache.cache[0].sin()


@kept(WRONG)
class InplaceSavedRelu(Function):
    @staticmethod
    def forward(ctx, x):
        m = (x > 0).to(x)
        ctx.save_for_backward(m)
        return x * m

    @staticmethod
    def backward(ctx, g):
        (m,) = ctx.saved_tensors
        m *= g
        return m


@kept(WRONG)
class HalfBatch(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        r = 3 * g * x**2
        r[::2] *= 0.9
        return r


@kept(WRONG)
class SoftmaxWrongDim(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.softmax(1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return y * (g - (g * y).sum(0, keepdim=True))


@kept(WRONG, call=lambda k: lambda x: k.apply(torch.bmm(x.view(-1, 4, 4), x.view(-1, 4, 4).mT) + torch.eye(4)))
class LogDetNoInv(Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return torch.logdet(a)[:, None]

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g[..., None] * a.mT


@kept(WRONG, (WIDTH,), call=lambda k: k.apply)
class ZeroForWeight(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return (x * w).sin()

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w * (x * w).cos(), torch.zeros_like(w)


@kept(WRONG)
class AbsAbs(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.abs()

    @staticmethod
    def backward(ctx, g):
        return g


@kept(WRONG)
class MeanSum(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.s = x.shape
        return x.mean(1, keepdim=True)

    @staticmethod
    def backward(ctx, g):
        return g.expand(ctx.s)


@kept(WRONG)
class BatchNormEval(Function):
    @staticmethod
    def forward(ctx, x):
        m = x.mean(0)
        v = x.var(0, unbiased=False)
        ctx.save_for_backward(v)
        return (x - m) / (v + 1e-5).sqrt()

    @staticmethod
    def backward(ctx, g):
        (v,) = ctx.saved_tensors
        return g / (v + 1e-5).sqrt()


@kept(WRONG, call=lambda k: lambda x: k.apply(torch.complex(x, x.cos())).abs())
class ComplexNoConj(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z * z

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * 2 * z


@kept(WRONG, call=lambda k: lambda x: k.apply(1e-4 * x))
class TinyWrong(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 1 + x.exp() * 1e-3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.exp() * 1e-3 * 0.9
