"""Functions of another day, written after those of `further`, for the same reason."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as people call it
from torch import Tensor
from torch.autograd import Function

from .functions import WIDTH, Build, kept

RIGHT: dict[str, Build] = {}
WRONG: dict[str, Build] = {}
DELIBERATE: dict[str, Build] = {}


@kept(RIGHT, (4, WIDTH, WIDTH))
class Bilinear(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return torch.einsum("ni,kij,nj->nk", x, w, x)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        gx = torch.einsum("nk,kij,nj->ni", g, w, x) + torch.einsum("nk,kji,nj->ni", g, w, x)
        return gx, torch.einsum("nk,ni,nj->kij", g, x, x)


@kept(WRONG, (4, WIDTH, WIDTH))
class BilinearOnce(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return torch.einsum("ni,kij,nj->nk", x, w, x)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return torch.einsum("nk,kij,nj->ni", g, w, x), torch.einsum("nk,ni,nj->kij", g, x, x)


@kept(RIGHT)
class GLU(Function):
    @staticmethod
    def forward(ctx, x):
        a, b = x.chunk(2, 1)
        s = b.sigmoid()
        ctx.save_for_backward(a, s)
        return a * s

    @staticmethod
    def backward(ctx, g):
        a, s = ctx.saved_tensors
        return torch.cat([g * s, g * a * s * (1 - s)], 1)


@kept(WRONG)
class GLUSwapped(Function):
    @staticmethod
    def forward(ctx, x):
        a, b = x.chunk(2, 1)
        s = b.sigmoid()
        ctx.save_for_backward(a, s)
        return a * s

    @staticmethod
    def backward(ctx, g):
        a, s = ctx.saved_tensors
        return torch.cat([g * a * s * (1 - s), g * s], 1)


def rot(x, c, s):
    a, b = x.chunk(2, 1)
    return torch.cat([a * c - b * s, a * s + b * c], 1)


@kept(RIGHT, call=lambda k: lambda x: k.apply(x, torch.linspace(0, 3, 8).cos(), torch.linspace(0, 3, 8).sin()))
class Rotary(Function):
    @staticmethod
    def forward(ctx, x, c, s):
        ctx.save_for_backward(c, s)
        return rot(x, c, s)

    @staticmethod
    def backward(ctx, g):
        c, s = ctx.saved_tensors
        return rot(g, c, -s), None, None


@kept(WRONG, call=lambda k: lambda x: k.apply(x, torch.linspace(0, 3, 8).cos(), torch.linspace(0, 3, 8).sin()))
class RotaryNoMinus(Function):
    @staticmethod
    def forward(ctx, x, c, s):
        ctx.save_for_backward(c, s)
        return rot(x, c, s)

    @staticmethod
    def backward(ctx, g):
        c, s = ctx.saved_tensors
        return rot(g, c, s), None, None


@kept(RIGHT, ())
class TempSoftmax(Function):
    @staticmethod
    def forward(ctx, x, t):
        y = (x / t).softmax(1)
        ctx.save_for_backward(x, t, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, t, y = ctx.saved_tensors
        z = y * (g - (g * y).sum(1, keepdim=True))
        return z / t, -(z * x).sum() / t**2


@kept(WRONG, ())
class TempSoftmaxNoT(Function):
    @staticmethod
    def forward(ctx, x, t):
        y = (x / t).softmax(1)
        ctx.save_for_backward(x, t, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, t, y = ctx.saved_tensors
        z = y * (g - (g * y).sum(1, keepdim=True))
        return z, -(z * x).sum() / t**2


@kept(RIGHT, call=lambda k: lambda x: k.apply(x, torch.tensor([0, 0, 1, 2, 5, 5, 5, 15])))
class Gather(Function):
    @staticmethod
    def forward(ctx, x, i):
        ctx.save_for_backward(i)
        ctx.n = x.shape[1]
        return x[:, i]

    @staticmethod
    def backward(ctx, g):
        (i,) = ctx.saved_tensors
        return g.new_zeros(len(g), ctx.n).index_add(1, i, g), None


@kept(WRONG, call=lambda k: lambda x: k.apply(x, torch.tensor([0, 0, 1, 2, 5, 5, 5, 15])))
class GatherOverwrites(Function):
    @staticmethod
    def forward(ctx, x, i):
        ctx.save_for_backward(i)
        ctx.n = x.shape[1]
        return x[:, i]

    @staticmethod
    def backward(ctx, g):
        (i,) = ctx.saved_tensors
        r = g.new_zeros(len(g), ctx.n)
        r[:, i] = g
        return r, None


@kept(RIGHT)
class Median(Function):
    @staticmethod
    def forward(ctx, x):
        v, i = x.median(1, keepdim=True)
        ctx.save_for_backward(i)
        ctx.s = x.shape
        return v

    @staticmethod
    def backward(ctx, g):
        (i,) = ctx.saved_tensors
        return g.new_zeros(ctx.s).scatter(1, i, g)


@kept(WRONG)
class MedianAll(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.s = x.shape
        return x.median(1, keepdim=True).values

    @staticmethod
    def backward(ctx, g):
        return (g / ctx.s[1]).expand(ctx.s)


@kept(RIGHT, (WIDTH,), (WIDTH,), offset=0.0)
class LearnedClamp(Function):
    @staticmethod
    def forward(ctx, x, a, b):
        lo = torch.minimum(a, b) - 0.1
        hi = torch.maximum(a, b) + 0.1
        ctx.save_for_backward(x, a, b, lo, hi)
        return torch.minimum(torch.maximum(x, lo), hi)

    @staticmethod
    def backward(ctx, g):
        x, a, b, lo, hi = ctx.saved_tensors
        L = (g * (x < lo)).sum(0)
        H = (g * (x > hi)).sum(0)
        return g * ((x >= lo) & (x <= hi)), torch.where(a < b, L, H), torch.where(a < b, H, L)


@kept(WRONG, (WIDTH,), (WIDTH,), offset=0.0)
class LearnedClampSwapped(Function):
    @staticmethod
    def forward(ctx, x, a, b):
        lo = torch.minimum(a, b) - 0.1
        hi = torch.maximum(a, b) + 0.1
        ctx.save_for_backward(x, a, b, lo, hi)
        return torch.minimum(torch.maximum(x, lo), hi)

    @staticmethod
    def backward(ctx, g):
        x, _, _, lo, hi = ctx.saved_tensors
        L = (g * (x < lo)).sum(0)
        H = (g * (x > hi)).sum(0)
        return g * ((x >= lo) & (x <= hi)), L, H


@kept(RIGHT, (WIDTH,), call=lambda k: lambda x, w: k.apply(x, w, None))
class OptBias(Function):
    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w, b)
        return x * w if b is None else x * w + b

    @staticmethod
    def backward(ctx, g):
        x, w, b = ctx.saved_tensors
        return g * w, (g * x).sum(0), None if b is None else g.sum(0)


@kept(WRONG, (WIDTH,), (WIDTH,))
class OptBiasOrder(Function):
    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w, b)
        return x * w if b is None else x * w + b

    @staticmethod
    def backward(ctx, g):
        x, w, _b = ctx.saved_tensors
        return g * w, g.sum(0), (g * x).sum(0)


@kept(RIGHT)
class GumbelSoft(Function):
    @staticmethod
    def forward(ctx, x):
        n = -torch.log(-torch.log(torch.rand_like(x)))
        y = (x + n).softmax(1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return y * (g - (g * y).sum(1, keepdim=True))


@kept(RIGHT, (1,))
class NoiseInject(Function):
    @staticmethod
    def forward(ctx, x, s):
        n = torch.randn_like(x)
        ctx.save_for_backward(n)
        return x + n * s

    @staticmethod
    def backward(ctx, g):
        (n,) = ctx.saved_tensors
        return g, (g * n).sum()[None]


@kept(WRONG, (1,))
class NoiseInjectRedraw(Function):
    @staticmethod
    def forward(ctx, x, s):
        n = torch.randn_like(x)
        ctx.s = x.shape
        return x + n * s

    @staticmethod
    def backward(ctx, g):
        return g, (g * torch.randn_like(g)).sum()[None]


DCT = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0)))[0]


@kept(RIGHT)
class DCTF32(Function):
    @staticmethod
    def forward(ctx, x):
        return x @ DCT

    @staticmethod
    def backward(ctx, g):
        return g @ DCT.t()


@kept(WRONG)
class DCTNoT(Function):
    @staticmethod
    def forward(ctx, x):
        return x @ DCT

    @staticmethod
    def backward(ctx, g):
        return g @ DCT


@kept(RIGHT, ())
class NTXent(Function):
    @staticmethod
    def forward(ctx, x, t):
        z = F.normalize(x, dim=1)
        s = z @ z.t() / t - torch.eye(len(z)).to(x) * 1e4
        p = s.softmax(1)
        i = torch.arange(len(z)) ^ 1
        ctx.save_for_backward(x, z, p, t)
        return -s.log_softmax(1)[torch.arange(len(z)), i].mean()

    @staticmethod
    def backward(ctx, g):
        x, z, p, t = ctx.saved_tensors
        n = len(z)
        i = torch.arange(n) ^ 1
        d = p.clone()
        d[torch.arange(n), i] -= 1
        d = d * g / n
        s = z @ z.t() / t
        gz = (d + d.t()) @ z / t
        gt = -(d * s).sum() / t
        nrm = x.norm(dim=1, keepdim=True)
        return (gz - z * (gz * z).sum(1, keepdim=True)) / nrm, gt


@kept(WRONG, ())
class NTXentHalf(Function):
    @staticmethod
    def forward(ctx, x, t):
        z = F.normalize(x, dim=1)
        s = z @ z.t() / t - torch.eye(len(z)).to(x) * 1e4
        p = s.softmax(1)
        i = torch.arange(len(z)) ^ 1
        ctx.save_for_backward(x, z, p, t)
        return -s.log_softmax(1)[torch.arange(len(z)), i].mean()

    @staticmethod
    def backward(ctx, g):
        x, z, p, t = ctx.saved_tensors
        n = len(z)
        i = torch.arange(n) ^ 1
        d = p.clone()
        d[torch.arange(n), i] -= 1
        d = d * g / n
        s = z @ z.t() / t
        gz = d @ z / t
        gt = -(d * s).sum() / t
        nrm = x.norm(dim=1, keepdim=True)
        return (gz - z * (gz * z).sum(1, keepdim=True)) / nrm, gt


@kept(RIGHT, (WIDTH,), call=lambda k: lambda x, w: sum(k.apply(x, x.cos(), w)))
class AddNorm(Function):
    @staticmethod
    def forward(ctx, x, r, w):
        s = x + r
        i = torch.rsqrt(s.pow(2).mean(1, keepdim=True) + 1e-6)
        ctx.save_for_backward(s, i, w)
        return s * i * w, s

    @staticmethod
    def backward(ctx, g, gs):
        s, i, w = ctx.saved_tensors
        a = g * w
        d = i * a - s * i**3 * (a * s).mean(1, keepdim=True) + gs
        return d, d, (g * s * i).sum(0)


@kept(WRONG, (WIDTH,), call=lambda k: lambda x, w: sum(k.apply(x, x.cos(), w)))
class AddNormNoRes(Function):
    @staticmethod
    def forward(ctx, x, r, w):
        s = x + r
        i = torch.rsqrt(s.pow(2).mean(1, keepdim=True) + 1e-6)
        ctx.save_for_backward(s, i, w)
        return s * i * w, s

    @staticmethod
    def backward(ctx, g, gs):
        s, i, w = ctx.saved_tensors
        a = g * w
        d = i * a - s * i**3 * (a * s).mean(1, keepdim=True)
        return d, d, (g * s * i).sum(0)


@kept(RIGHT, (3, 3))
class UnfoldConv(Function):
    @staticmethod
    def forward(ctx, x, w):
        u = x.unfold(1, 3, 1)
        ctx.save_for_backward(u, w)
        ctx.s = x.shape
        return u @ w.t()

    @staticmethod
    def backward(ctx, g):
        u, w = ctx.saved_tensors
        gu = g @ w
        r = g.new_zeros(ctx.s)
        for k in range(3):
            r[:, k : k + gu.shape[1]] += gu[..., k]
        return r, torch.einsum("npo,npk->ok", g, u)


@kept(WRONG, (3, 3))
class UnfoldConvAssign(Function):
    @staticmethod
    def forward(ctx, x, w):
        u = x.unfold(1, 3, 1)
        ctx.save_for_backward(u, w)
        ctx.s = x.shape
        return u @ w.t()

    @staticmethod
    def backward(ctx, g):
        u, w = ctx.saved_tensors
        gu = g @ w
        r = g.new_zeros(ctx.s)
        for k in range(3):
            r[:, k : k + gu.shape[1]] = gu[..., k]
        return r, torch.einsum("npo,npk->ok", g, u)


@kept(RIGHT, (), call=lambda k: lambda x, p: k.apply(x.abs(), p + 1))
class PowP(Function):
    @staticmethod
    def forward(ctx, x, p):
        ctx.save_for_backward(x, p)
        return (x + 1e-3) ** p

    @staticmethod
    def backward(ctx, g):
        x, p = ctx.saved_tensors
        x = x + 1e-3
        return g * p * x ** (p - 1), (g * x**p * x.log()).sum()


@kept(WRONG, (), call=lambda k: lambda x, p: k.apply(x.abs(), p + 1))
class PowPNoLog(Function):
    @staticmethod
    def forward(ctx, x, p):
        ctx.save_for_backward(x, p)
        return (x + 1e-3) ** p

    @staticmethod
    def backward(ctx, g):
        x, p = ctx.saved_tensors
        x = x + 1e-3
        return g * p * x ** (p - 1), (g * x**p).sum()


@kept(RIGHT, call=lambda k: lambda x: k.apply(x, torch.tensor([1.0, -1] * 4)))
class Hinge(Function):
    @staticmethod
    def forward(ctx, x, t):
        m = 1 - t[:, None] * x
        ctx.save_for_backward(m, t)
        return m.clamp(min=0).mean()

    @staticmethod
    def backward(ctx, g):
        m, t = ctx.saved_tensors
        return -g * t[:, None] * (m > 0) / m.numel(), None


@kept(WRONG, call=lambda k: lambda x: k.apply(x, torch.tensor([1.0, -1] * 4)))
class HingeNoMask(Function):
    @staticmethod
    def forward(ctx, x, t):
        m = 1 - t[:, None] * x * 3
        ctx.save_for_backward(m, t)
        return m.clamp(min=0).mean()

    @staticmethod
    def backward(ctx, g):
        m, t = ctx.saved_tensors
        return (-3 * g * t[:, None] / m.numel()).expand_as(m), None


@kept(WRONG)
class DataTrick(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        y.data.add_(1)
        return y - 1

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


@kept(WRONG, (WIDTH, WIDTH))
class TiedOnce(Function):
    @staticmethod
    def forward(ctx, x, w):
        h = x @ w
        ctx.save_for_backward(x, w, h)
        return h @ w.t()

    @staticmethod
    def backward(ctx, g):
        x, w, _h = ctx.saved_tensors
        gh = g @ w
        return gh @ w.t(), x.t() @ gh


@kept(RIGHT, (WIDTH, WIDTH))
class Tied(Function):
    @staticmethod
    def forward(ctx, x, w):
        h = x @ w
        ctx.save_for_backward(x, w, h)
        return h @ w.t()

    @staticmethod
    def backward(ctx, g):
        x, w, h = ctx.saved_tensors
        gh = g @ w
        return gh @ w.t(), x.t() @ gh + g.t() @ h


@kept(WRONG, (WIDTH,))
class NotSummed(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return (x * w).sum(1, keepdim=True)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w, (g * x).sum(1)


@kept(WRONG)
class StaticBuffer(Function):
    """a preallocated scratch"""

    buf: Tensor | None = None

    @staticmethod
    def forward(ctx, x):
        if StaticBuffer.buf is None or StaticBuffer.buf.shape != x.shape or StaticBuffer.buf.dtype != x.dtype:
            StaticBuffer.buf = torch.empty_like(x)
        torch.sigmoid(x, out=StaticBuffer.buf)
        ctx.b = StaticBuffer.buf
        return ctx.b * x

    @staticmethod
    def backward(ctx, g):
        s = ctx.b
        x = torch.logit(s)
        return g * (s + x * s * (1 - s))


@kept(RIGHT)
class SwishInvolved(Function):
    @staticmethod
    def forward(ctx, x):
        s = x.sigmoid()
        ctx.s = s
        return s * x

    @staticmethod
    def backward(ctx, g):
        s = ctx.s
        x = torch.logit(s)
        return g * (s + x * s * (1 - s))


@kept(WRONG)
class GradAbs(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (g * x.cos()).abs()


@kept(WRONG)
class SqueezeMix(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.s = x.shape
        return x.view(len(x), 4, 4).transpose(1, 2).reshape(len(x), -1) * 2

    @staticmethod
    def backward(ctx, g):
        return 2 * g


@kept(RIGHT)
class SqueezeMixOk(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.s = x.shape
        return x.view(len(x), 4, 4).transpose(1, 2).reshape(len(x), -1) * 2

    @staticmethod
    def backward(ctx, g):
        return (2 * g).view(len(g), 4, 4).transpose(1, 2).reshape(len(g), -1)


@kept(DELIBERATE, (WIDTH,), offset=0.5)
class PACT(Function):
    @staticmethod
    def forward(ctx, x, a):
        ctx.save_for_backward(x, a)
        s = a / 15
        return (torch.minimum(x.clamp(min=0), a) / s).round() * s

    @staticmethod
    def backward(ctx, g):
        x, a = ctx.saved_tensors
        return g * ((x > 0) & (x < a)), (g * (x >= a)).sum(0)


@kept(DELIBERATE)
class TopKSTE(Function):
    @staticmethod
    def forward(ctx, x):
        return (x >= x.topk(4, 1).values[:, -1:]).to(x)

    @staticmethod
    def backward(ctx, g):
        return g


@kept(DELIBERATE)
class StochRound(Function):
    @staticmethod
    def forward(ctx, x):
        return torch.floor(x * 8 + torch.rand_like(x)) / 8

    @staticmethod
    def backward(ctx, g):
        return g


@kept(DELIBERATE)
class ScaleGradMul(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        return g * 0.1


@kept(DELIBERATE)
class NoGradNone(Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return torch.zeros_like(g)
