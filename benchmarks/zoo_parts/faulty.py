"""Models that are broken, each by a mechanism: an edit that really happens, or a training that really fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo_parts.data import Data, load
from benchmarks.zoo_parts.networks import Build, conv, mlp, then
from benchmarks.zoo_parts.objectives import Objective, autoencoder, cross_entropy, fit, view
from benchmarks.zoo_parts.recipes import COLLAPSED, DEGRADED, FAULTY, Recipe, Sample, embed, score

# The working models that the edits below break: data, architecture, width of the embedding.
WORKING: dict[str, tuple[str, Build, int]] = {
    "conv": ("digits", conv(), 64),
    "conv-batch-norm": ("digits", conv(norm="batch"), 64),
    "mlp": ("digits", mlp(3), 128),
    "letters": ("glyphs", conv(depth=4, norm="batch"), 128),
    "cancer": ("breast_cancer", mlp(2, width=64), 32),
}
# An edit gets the model to break and the embeddings it gives before.
Edit = Callable[[nn.Sequential, Tensor], None]


def recipes() -> Iterator[Recipe]:
    """All of them, edits first."""
    yield from edited_weights()
    yield from edited_inputs()
    yield from bottlenecks()
    yield from codes()
    yield from untrained()
    yield from failed_trainings()
    yield from smoothed()


@cache
def working(name: str, seed: int) -> nn.Sequential:
    """A trained model; callers copy it before they break it."""
    data, build, d = WORKING[name]
    known = load(data, seed)
    torch.manual_seed(seed)
    encoder = build(tuple(known.inputs.shape[1:]), d)
    fit(encoder, cross_entropy(encoder, known, d), known.training, steps=150)
    assert isinstance(encoder, nn.Sequential)
    return encoder


def scanned(encoder: nn.Module, data: Data, n: int, labels: bool = True) -> Sample:
    """The first `n` rows of the data through the model, and how good its neighbours are."""
    rows = embed(encoder, data.inputs[:n])
    known = data.truth[:n]
    return Sample(rows, data.inputs[:n], known if labels else None, score(rows, known))


def always(_value: float) -> bool:
    """An edit is a fault whatever the neighbours say."""
    return True


def lost(value: float) -> bool:
    """Training failed: the neighbours by cosine are clearly worse than those of any working model here."""
    return value < 0.9


def last_linear(encoder: nn.Module) -> nn.Linear:
    """The layer that gives the embedding."""
    return [module for module in encoder.modules() if isinstance(module, nn.Linear)][-1]


# --------------------------------------------------------------------------------------- edited weights


def edited(name: str, expected: frozenset[str], kind: str | None, edit: Edit, bases: str) -> Iterator[Recipe]:
    """The same edit on several working models."""
    for base in bases.split():

        def make(seed: int, base: str = base) -> Sample:
            encoder = deepcopy(working(base, seed))
            data = load(WORKING[base][0], seed)
            torch.manual_seed(seed)
            with torch.no_grad():
                edit(encoder, embed(encoder, data.inputs[:360]))
            return scanned(encoder, data, 360)

        yield Recipe(f"faulty/{name}/{base}", expected, kind, make, always)


def edited_weights() -> Iterator[Recipe]:
    """One layer of a trained model is wrong."""
    yield from edited("dead-relu", COLLAPSED, "complete", kill_relu, "conv mlp cancer")
    yield from edited("one-unit-alive", COLLAPSED, None, leave_one_unit, "mlp")
    yield from edited("stale-batch-norm", FAULTY, None, explode_statistics, "conv-batch-norm letters")
    yield from edited("zero-head", COLLAPSED, None, zero_head, "conv letters")
    yield from edited("tiny-head-with-bias", COLLAPSED, "complete", shrink_weight, "conv mlp letters")
    yield from edited("constant-head", COLLAPSED, None, constant_head, "conv letters")
    every = "conv conv-batch-norm mlp letters cancer"
    yield from edited("offset-0.1", DEGRADED, "cone", partial(add_offset, spread=0.1), every)
    yield from edited("offset-0.04", DEGRADED, "cone", partial(add_offset, spread=0.04), every)
    # Around the limit of .01 both words are right.
    yield from edited("offset-0.012", FAULTY, None, partial(add_offset, spread=0.012), "conv letters")
    yield from edited("offset-0.008", FAULTY, None, partial(add_offset, spread=0.008), "conv letters")
    yield from edited("offset-0.001", COLLAPSED, "complete", partial(add_offset, spread=0.001), "conv-batch-norm mlp")
    yield from edited("rogue-dimension", DEGRADED, "cone", rogue, "conv-batch-norm letters")
    yield from edited("rank-1", COLLAPSED, "dimensional", partial(truncate, rank=1), "conv mlp letters")
    yield from edited("rank-2", COLLAPSED, "dimensional", partial(truncate, rank=2), "conv mlp letters")
    yield from edited("scaled-1e-9", FAULTY, "norm", scale_down, "conv letters")
    yield from edited("nan-row", FAULTY, "non-finite", nan_row, "conv cancer")
    yield from edited(
        "half-dead-dimensions", FAULTY, None, partial(kill_dimensions, share=0.5), "conv-batch-norm letters"
    )
    yield from edited("most-dead-dimensions", FAULTY, None, partial(kill_dimensions, share=0.9), "conv letters")


def kill_relu(encoder: nn.Sequential, _before: Tensor) -> None:
    """A bias of -50 in the last hidden layer: its ReLU never fires."""
    hidden(encoder).bias.fill_(-50)


def leave_one_unit(encoder: nn.Sequential, _before: Tensor) -> None:
    """All hidden units but the busiest are dead."""
    layer = hidden(encoder)
    kept = int(last_linear(encoder).weight.norm(dim=0).argmax())
    alive = layer.bias[kept].clone()
    layer.bias.fill_(-50)
    layer.bias[kept] = alive


def hidden(encoder: nn.Sequential) -> nn.Conv2d | nn.Linear:
    """The last layer before the one that gives the embedding."""
    return [module for module in encoder if isinstance(module, nn.Conv2d | nn.Linear)][-2]


def explode_statistics(encoder: nn.Sequential, _before: Tensor) -> None:
    """Running variances of 1e8, as after a batch of garbage."""
    for module in encoder:
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(1e8)


def zero_head(encoder: nn.Sequential, _before: Tensor) -> None:
    """The last layer was initialised with zeros and never trained."""
    last_linear(encoder).weight.zero_()
    last_linear(encoder).bias.zero_()


def shrink_weight(encoder: nn.Sequential, _before: Tensor) -> None:
    """The last weight decayed away, its bias did not."""
    last_linear(encoder).weight.mul_(1e-6)
    last_linear(encoder).bias.normal_(0, 0.1)


def constant_head(encoder: nn.Sequential, _before: Tensor) -> None:
    """All weights of the last layer are equal."""
    last_linear(encoder).weight.fill_(0.01)


def add_offset(encoder: nn.Sequential, before: Tensor, spread: float) -> None:
    """A bias so long that the differences between embeddings are `spread` of what a row is long."""
    layer = last_linear(encoder)
    direction = torch.randn(layer.out_features)
    layer.bias.add_(direction / direction.norm() * typical(before) / spread - before.mean(dim=0))


def rogue(encoder: nn.Sequential, before: Tensor) -> None:
    """One dimension has an enormous mean."""
    last_linear(encoder).bias[0] += 12 * typical(before)


def typical(rows: Tensor) -> float:
    """How far rows lie from their mean (root mean square)."""
    return float((rows - rows.mean(dim=0)).square().sum(dim=1).mean().sqrt())


def truncate(encoder: nn.Sequential, _before: Tensor, rank: int) -> None:
    """A factorised last layer whose inner width was left at `rank`."""
    layer = last_linear(encoder)
    u, s, v = torch.linalg.svd(layer.weight, full_matrices=False)
    layer.weight.copy_((u[:, :rank] * s[:rank]) @ v[:rank])
    layer.bias.zero_()


def scale_down(encoder: nn.Sequential, _before: Tensor) -> None:
    """Everything of the last layer times 1e-9."""
    last_linear(encoder).weight.mul_(1e-9)
    last_linear(encoder).bias.mul_(1e-9)


def nan_row(encoder: nn.Sequential, _before: Tensor) -> None:
    """One row of the last weight is NaN."""
    last_linear(encoder).weight[3] = float("nan")


def kill_dimensions(encoder: nn.Sequential, _before: Tensor, share: float) -> None:
    """The first dimensions of the embedding are zero for every input."""
    layer = last_linear(encoder)
    dead = int(share * layer.out_features)
    layer.weight[:dead] = 0
    layer.bias[:dead] = 0


# ---------------------------------------------------------------------------------------- edited inputs


def edited_inputs() -> Iterator[Recipe]:
    """The model is sound; what it is fed is not."""

    def repeated(seed: int, base: str) -> Sample:
        data = load(WORKING[base][0], seed)
        inputs = data.inputs[:1].repeat(200, *[1] * (data.inputs.dim() - 1))
        return Sample(embed(working(base, seed), inputs), inputs, None, None)

    def dark(seed: int, base: str) -> Sample:
        data = load(WORKING[base][0], seed)
        encoder = deepcopy(working(base, seed))
        with torch.no_grad():
            for module in encoder.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.bias.add_(0.1 * torch.rand(len(module.bias)))
        return scanned(encoder, Data(data.inputs / 255, data.truth, data.held_out), 360)

    def holes(seed: int, base: str) -> Sample:
        data = load(WORKING[base][0], seed)
        inputs = data.inputs[:360].clone()
        inputs[::90] = float("nan")
        return Sample(embed(working(base, seed), inputs), inputs, data.truth[:360], None)

    anything = FAULTY | {"inconclusive"}
    for base in ("conv", "letters", "cancer"):
        yield Recipe(f"faulty/repeated-inputs/{base}", anything, None, partial(repeated, base=base), always)
    for base in ("conv", "mlp", "letters"):
        yield Recipe(f"faulty/divided-twice/{base}", FAULTY, None, partial(dark, base=base), always)
    for base in ("conv", "cancer"):
        yield Recipe(f"faulty/nan-inputs/{base}", FAULTY, "non-finite", partial(holes, base=base), always)


# ---------------------------------------------------------------------------- trained with a wrong part


def trained(
    name: str,
    expected: frozenset[str],
    data: str,
    build: Build,
    aim: Callable[[nn.Module, Data, int], Objective],
    *,
    kind: str | None = None,
    d: int = 64,
    n: int = 360,
    labels: bool = True,
    kept: Callable[[float], bool] = lost,
    **training: object,
) -> Recipe:
    """Train from scratch; kept only if it failed as meant."""

    def make(seed: int) -> Sample:
        known = load(data, seed)
        torch.manual_seed(seed)
        encoder = build(tuple(known.inputs.shape[1:]), d)
        fit(encoder, aim(encoder, known, d), known.training, **{"steps": 150, **training})  # type: ignore[arg-type]
        return scanned(encoder, known, n, labels)

    return Recipe(f"faulty/{name}", expected, kind, make, kept)


def narrow(build: Build, width: int) -> Build:
    """The encoder of width `width`, and a linear layer up to the width asked for."""
    return lambda shape, d: nn.Sequential(build(shape, width), nn.Linear(width, d, bias=False))


def bottlenecks() -> Iterator[Recipe]:
    """Few units before many dimensions: the rank is gone, mostly by design of the architecture."""
    rich = conv(depth=4, norm="batch")
    for width, expected in ((1, COLLAPSED), (2, COLLAPSED), (4, FAULTY), (8, FAULTY)):
        aim = autoencoder if width < 4 else cross_entropy
        yield trained(
            f"bottleneck-{width}-of-512/letters",
            expected,
            "glyphs",
            narrow(rich, width),
            aim,
            d=512,
            n=1000,
            kept=always,
            kind="dimensional" if width > 1 else None,
        )
    yield trained(
        "bottleneck-2/digits", COLLAPSED, "digits", narrow(conv(), 2), autoencoder, labels=False, kind="dimensional"
    )
    yield trained("bottleneck-1/digits", COLLAPSED, "digits", narrow(mlp(2), 1), cross_entropy, kind="dimensional")


class Codes(nn.Module):
    """Rows to the nearest of a few codes that are spread over the first rows seen, as a bad codebook is."""

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.codes: Tensor
        self.register_buffer("codes", codes)

    def forward(self, rows: Tensor) -> Tensor:
        """``[n, d]`` to codes ``[n, d]``."""
        return self.codes[torch.cdist(rows, self.codes).argmin(dim=1)]


class Saturated(nn.Module):
    """A sigmoid driven far into its flat parts, as by weights that were scaled up."""

    def forward(self, rows: Tensor) -> Tensor:
        """In float32 all values are 0 or 1."""
        return torch.sigmoid(1e4 * rows)


def codes() -> Iterator[Recipe]:
    """Different inputs share the very same embedding."""

    def quantised(seed: int, base: str, number: int, n: int) -> Sample:
        data = load(WORKING[base][0], seed)
        encoder = working(base, seed)
        picked = embed(encoder, data.inputs[-number:])
        return scanned(nn.Sequential(encoder, Codes(picked)), data, n, labels=False)

    def saturated(seed: int, base: str, bits: int) -> Sample:
        data = load(WORKING[base][0], seed)
        encoder = working(base, seed)
        torch.manual_seed(seed)
        d = last_linear(encoder).out_features
        centre = embed(encoder, data.inputs[:200]).mean(dim=0)
        bit = nn.Linear(d, bits)
        with torch.no_grad():
            bit.bias.copy_(-(bit.weight @ centre))
        return scanned(nn.Sequential(encoder, bit, Saturated(), nn.Linear(bits, 64)), data, 360, labels=False)

    for base, number, n in (
        ("conv", 3, 360),
        ("conv", 8, 1000),
        ("letters", 5, 1000),
        ("letters", 16, 1000),
        ("cancer", 4, 200),
    ):
        make = partial(quantised, base=base, number=number, n=n)
        yield Recipe(f"faulty/codebook-{number}/{base}", COLLAPSED, "cluster", make, always)
    for base, bits in (("conv", 3), ("letters", 4)):
        make = partial(saturated, base=base, bits=bits)
        yield Recipe(f"faulty/saturated-{bits}-bits/{base}", COLLAPSED, "cluster", make, always)


def untrained() -> Iterator[Recipe]:
    """Deep nets without normalisation at PyTorch's default initialisation, never trained."""

    def fresh(seed: int, data: str, build: Build) -> Sample:
        known = load(data, seed)
        torch.manual_seed(seed)
        return scanned(build(tuple(known.inputs.shape[1:]), 64), known, 360)

    for depth, expected in ((6, FAULTY), (10, COLLAPSED), (14, COLLAPSED), (20, COLLAPSED)):
        yield Recipe(
            f"faulty/untrained-mlp-{depth}", expected, None, partial(fresh, data="digits", build=mlp(depth)), always
        )
    for depth in (10, 16):
        build = conv(depth=depth)
        yield Recipe(
            f"faulty/untrained-conv-{depth}", COLLAPSED, "complete", partial(fresh, data="glyphs", build=build), always
        )
    deep = mlp(6, act=nn.Sigmoid)
    yield Recipe(
        "faulty/untrained-sigmoid-mlp-6", COLLAPSED, "complete", partial(fresh, data="digits", build=deep), always
    )


# -------------------------------------------------------------------------------------- failed training


def attraction(encoder: nn.Module, _data: Data, _d: int) -> Objective:
    """Views of one item must agree, nothing else: no negatives, no stop-gradient."""
    return Objective(lambda x, y: -functional.cosine_similarity(encoder(view(x)), encoder(view(x))).mean())


def batch_hard(encoder: nn.Module, _data: Data, _d: int) -> Objective:
    """Hermans et al. 2017 on raw squared distances, margin .2."""

    def loss(x: Tensor, y: Tensor) -> Tensor:
        rows = encoder(x)
        distance = (rows[:, None] - rows[None]).square().sum(dim=2)
        same = y[:, None] == y[None]
        far, near = distance.masked_fill(~same, 0).amax(dim=1), distance.masked_fill(same, torch.inf).amin(dim=1)
        return functional.relu(far - near + 0.2).mean()

    return Objective(loss)


def sigmoid_of_cosine(encoder: nn.Module, _data: Data, _d: int) -> Objective:
    """Binary cross-entropy of sigmoid(cosine) against same class or not."""

    def loss(x: Tensor, y: Tensor) -> Tensor:
        first, second = encoder(x).chunk(2)
        same = (y[: len(first)] == y[len(first) :]).float()
        return functional.binary_cross_entropy(torch.sigmoid(functional.cosine_similarity(first, second)), same)

    return Objective(loss)


def one_class(encoder: nn.Module, _data: Data, d: int) -> Objective:
    """Deep SVDD (Ruff et al. 2018) with biases kept: all rows to one centre, which the biases alone can reach."""
    centre = torch.ones(d)
    return Objective(lambda x, y: (encoder(x) - centre).square().sum(dim=1).mean())


def unrelated_pairs(encoder: nn.Module, _data: Data, _d: int) -> Objective:
    """InfoNCE whose pairs do not belong together: a shuffled second column."""

    def loss(x: Tensor, _y: Tensor) -> Tensor:
        first = functional.normalize(encoder(x), dim=1)
        second = functional.normalize(encoder(x[torch.randperm(len(x))]), dim=1)
        return functional.cross_entropy(first @ second.T / 0.1, torch.arange(len(x)))

    return Objective(loss)


def constant(build: Build, value: float) -> Build:
    """All parameters start at one value."""

    def made(shape: tuple[int, ...], d: int) -> nn.Module:
        encoder = build(shape, d)
        for parameter in encoder.parameters():
            nn.init.constant_(parameter, value)
        return encoder

    return made


def constant_head_too(encoder: nn.Module, data: Data, d: int) -> Objective:
    """Cross-entropy with a head that starts constant as well, so that nothing breaks the symmetry of units."""
    objective = cross_entropy(encoder, data, d)
    for parameter in objective.heads[0].parameters():
        nn.init.constant_(parameter, 0.01)
    return objective


def failed_trainings() -> Iterator[Recipe]:
    """Objectives, rates and penalties that lead to a collapse."""
    plain, letters = conv(), conv(depth=4)
    yield trained("attraction/conv", FAULTY, "digits", plain, attraction, steps=400)
    yield trained("attraction/mlp", FAULTY, "digits", mlp(2), attraction, steps=400, kept=always)
    yield trained("attraction/letters", FAULTY, "glyphs", letters, attraction, steps=300)
    for rate in (3e-2, 1e-1):
        yield trained(
            f"batch-hard-{rate}/conv", FAULTY, "digits", plain, batch_hard, rate=rate, kept=always, kind="complete"
        )
        yield trained(
            f"batch-hard-{rate}/mlp", FAULTY, "digits", mlp(3), batch_hard, rate=rate, kept=always, kind="complete"
        )
    yield trained(
        "batch-hard-0.1/letters", FAULTY, "glyphs", letters, batch_hard, rate=0.1, kept=always, kind="complete"
    )
    slow = {"optimiser": partial(torch.optim.SGD, momentum=0.9), "rate": 0.01}
    for depth in (10, 12):
        yield trained(
            f"sigmoid-cosine-{depth}/digits",
            COLLAPSED,
            "digits",
            conv(depth=depth),
            sigmoid_of_cosine,
            kept=always,
            **slow,
            kind="complete",
        )
    yield trained(
        "sigmoid-cosine-10/letters",
        COLLAPSED,
        "glyphs",
        conv(depth=10),
        sigmoid_of_cosine,
        kept=always,
        **slow,
        kind="complete",
    )
    yield trained("one-class/conv", FAULTY, "digits", plain, one_class, steps=400, kept=always)
    yield trained("one-class/cancer", FAULTY, "breast_cancer", mlp(2), one_class, steps=400, kept=always)
    yield trained("unrelated-pairs/mlp", FAULTY, "digits", mlp(2), unrelated_pairs, steps=300, kept=always)
    for data in ("digits", "glyphs", "wine"):
        yield trained(
            f"weight-decay/{data}",
            FAULTY,
            data,
            mlp(3),
            cross_entropy,
            steps=400,
            rate=5e-3,
            weight_decay=1.0,
            kind="norm",
        )
    for data in ("digits", "glyphs"):
        yield trained(f"constant-start/{data}", FAULTY, data, constant(mlp(2), 0.01), constant_head_too)
    yield trained("learning-rate/digits", FAULTY, "digits", mlp(4), cross_entropy, rate=0.3)
    yield trained("learning-rate/letters", FAULTY, "glyphs", then(mlp(5), nn.ReLU), cross_entropy, rate=0.3)
    yield trained(
        "softmax-1000/digits",
        FAULTY,
        "digits",
        then(mlp(1), lambda: nn.Softmax(1)),
        nothing,
        d=1000,
        steps=0,
        kept=always,
    )


def nothing(encoder: nn.Module, _data: Data, _d: int) -> Objective:
    """No training."""
    return Objective(lambda x, y: encoder(x).sum())


def smoothed() -> Iterator[Recipe]:
    """Mean aggregation over a graph of nearest neighbours with a virtual node, often repeated: all rows agree."""

    def smooth(seed: int, base: str, layers: int) -> Sample:
        data = load(WORKING[base][0], seed)
        flat = data.inputs[:360].flatten(1)
        near = torch.cdist(flat, flat).topk(8, largest=False).indices
        graph = torch.zeros(len(flat), len(flat)).scatter_(1, near, 1.0) + 2 / len(flat)
        graph = graph / graph.sum(dim=1, keepdim=True)
        rows = embed(working(base, seed), data.inputs[:360])
        for _ in range(layers):
            rows = graph @ rows
        return Sample(rows, data.inputs[:360], data.truth[:360], score(rows, data.truth[:360]))

    for base, layers in (("conv", 32), ("letters", 64)):
        yield Recipe(
            f"faulty/oversmoothing/{base}", COLLAPSED, "complete", partial(smooth, base=base, layers=layers), always
        )
