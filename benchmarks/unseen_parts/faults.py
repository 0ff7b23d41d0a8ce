"""Faults with random places and strengths; each returns what a user would hand to a scan, None where it cannot be."""

# ruff: noqa: D103 - each is what its name says

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.unseen_parts.pictures import Pictures, normalised

NORMS = nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm
#: Their last layer is not the embedding, or what is in front of a norm or a skip is made up for.
ROBUST = ("resnet18", "mobilenet", "attentive")
SMALL = ("lenet", "dense_relu", "dense_silu", "plain", "dense_bn", "leaky", "group_residual", "lstm", "convnext")


@dataclass(kw_only=True)
class Case:
    """A sound network to be broken: `build` makes another one, `name` is what it is called."""

    name: str
    build: Callable[[], nn.Module]
    model: nn.Module
    data: Pictures
    random: Random


@dataclass(kw_only=True)
class Broken:
    """`layer` is where the fault is, None where it is no single place."""

    model: nn.Module | None = None
    state: dict[str, Any] | None = None
    inputs: Tensor | None = None
    layer: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


Fault = Callable[[Case], Broken | None]
FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {}


def fault(*causes: str) -> Callable[[Fault], Fault]:
    """Enter a fault with the causes that may rightly be named."""

    def entered(make: Fault) -> Fault:
        FAULTS[make.__name__] = make, causes
        return make

    return entered


def weighted(model: nn.Module) -> list[tuple[str, nn.Linear | nn.Conv2d]]:
    inner = nn.modules.linear.NonDynamicallyQuantizableLinear
    return [
        (n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d) and not isinstance(m, inner)
    ]


def batch_norms(model: nn.Module) -> list[tuple[str, Any]]:
    return [(n, m) for n, m in model.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]


@fault("stale-batchnorm")
def variance_exploded(case: Case) -> Broken | None:
    found = batch_norms(case.model)
    if not found:
        return None
    name, module = case.random.choice(found)
    module.running_var.mul_(1e6)
    return Broken(layer=name)


@fault("stale-batchnorm")
def mean_far_away(case: Case) -> Broken | None:
    found = batch_norms(case.model)
    if not found:
        return None
    name, module = case.random.choice(found)
    module.running_mean.add_(1000 * module.running_var.sqrt())
    return Broken(layer=name)


@fault("stale-batchnorm")
def statistics_of_raw_pixels(case: Case) -> Broken | None:
    found = batch_norms(case.model)
    if not found:
        return None
    for _, module in found:
        module.momentum = 0.9
    case.model.train()
    with torch.no_grad():
        for _ in range(3):
            case.model(case.data.training[:64] * 255)
    case.model.eval()
    return Broken()


@fault("dead-relu")
def biases_far_below(case: Case) -> Broken | None:
    if case.name not in ("dense_relu", "plain", "vgg_bn"):
        return None
    places: Sequence[tuple[str, Any]] = batch_norms(case.model) if case.name == "vgg_bn" else weighted(case.model)[:-1]
    name, module = case.random.choice(places)
    module.bias.data.fill_(-1e3 if case.name != "vgg_bn" else -50.0)
    return Broken(layer=name)


@fault("dead-relu", "learning-rate-too-high")
def rate_of_three_tenths(case: Case) -> Broken | None:
    if case.name not in ("dense_relu", "plain"):
        return None
    _classified(case, steps=40, rate=0.3)
    return Broken()


@fault("saturated-activation")
def pushed_to_an_end(case: Case) -> Broken | None:
    if case.name not in ("lenet", "dense_sigmoid"):
        return None
    name, module = case.random.choice(weighted(case.model)[:-1])
    assert module.bias is not None
    module.bias.data.fill_(case.random.choice([60.0, -60.0]))
    return Broken(layer=name)


@fault("common-offset")
def offset(case: Case) -> Broken | None:
    if case.name in (*ROBUST, "unit_gru"):
        return None
    name, module = weighted(case.model)[-1]
    assert module.bias is not None
    module.bias.data.add_(torch.randn_like(module.bias) * case.random.choice([100.0, 1e3]))
    return Broken(layer=name)


@fault("common-offset")
def offset_of_one_sign(case: Case) -> Broken | None:
    if case.name in (*ROBUST, "unit_gru"):
        return None
    name, module = weighted(case.model)[-1]
    assert module.bias is not None
    module.bias.data.fill_(case.random.choice([200.0, -200.0]))
    return Broken(layer=name)


@fault("vanishing-signal")
def tiny_weights(case: Case) -> Broken | None:
    if case.name in (*ROBUST, "group_residual", "convnext", "vgg_bn", "dense_bn"):
        return None
    name, module = case.random.choice(weighted(case.model))
    module.weight.data.mul_(case.random.choice([1e-4, 1e-6]))
    return Broken(layer=name)


@fault("constant-initialisation")
def one_layer_constant(case: Case) -> Broken | None:
    if case.name in ROBUST:
        return None
    places = weighted(case.model)
    name, module = case.random.choice(places[-1:] if case.name in ("group_residual", "convnext") else places)
    module.weight.data.fill_(case.random.choice([0.01, 0.1, 0.5]))
    return Broken(layer=name)


@fault("constant-initialisation")
def all_layers_constant(case: Case) -> Broken | None:
    if case.name in (*ROBUST, "group_residual", "convnext", "lstm", "unit_gru"):
        return None
    for _, module in weighted(case.model):
        module.weight.data.fill_(0.02)
        if module.bias is not None:
            module.bias.data.zero_()
    _classified(case, steps=20, rate=1e-3, adaptive=False)
    return Broken()


@fault("low-rank-layer")
def low_rank(case: Case) -> Broken | None:
    if case.name in ROBUST:
        return None
    places = weighted(case.model)
    name, module = case.random.choice(
        places[-1:] if case.name in ("group_residual", "convnext") else places[1:] or places
    )
    u, s, v = torch.linalg.svd(module.weight.data.flatten(1), full_matrices=False)
    rank = case.random.choice([1, 2])
    module.weight.data = ((u[:, :rank] * s[:rank]) @ v[:rank]).reshape(module.weight.shape).contiguous()
    return Broken(layer=name)


@fault("repeated-inputs")
def one_picture(case: Case) -> Broken:
    return Broken(inputs=_shown(case)[case.random.randint(0, 500)].expand(300, -1, -1, -1).contiguous(), layer="input")


@fault("repeated-inputs")
def three_pictures(case: Case) -> Broken:
    return Broken(inputs=_shown(case)[torch.arange(300) % 3].contiguous(), layer="input")


@fault("near-duplicate-inputs", "repeated-inputs")
def one_picture_and_noise(case: Case) -> Broken:
    return Broken(inputs=_shown(case)[7:8] + torch.randn(300, 1, 28, 28) * 3e-4, layer="input")


@fault("wrong-input-scale")
def divided_twice(case: Case) -> Broken:
    return Broken(inputs=case.data.unseen / 255, layer="input")


@fault("wrong-input-scale")
def divided_twice_then_normalised(case: Case) -> Broken:
    return Broken(inputs=normalised(case.data.unseen / 255), layer="input")


@fault("wrong-input-scale")
def raw_pixels(case: Case) -> Broken:
    return Broken(inputs=case.data.unseen * 255, layer="input")


@fault("weights-not-loaded")
def weights_missing(case: Case) -> Broken:
    state = case.model.state_dict()
    kept = list(state)[int(len(state) * case.random.choice([0.5, 0.9])) :]
    return Broken(state={name: state[name] for name in kept}, options={"allow_partial": True})


@fault("untrained-weights", "depth-without-normalisation")
def never_trained(case: Case) -> Broken:
    torch.manual_seed(case.random.randint(0, 99_999))
    return Broken(model=case.build().eval())


@fault("rogue-dimension")
def one_large_dimension(case: Case) -> Broken | None:
    if case.name in (*ROBUST, "unit_gru"):
        return None
    name, module = weighted(case.model)[-1]
    assert module.bias is not None
    row = case.random.randrange(module.weight.shape[0])
    module.weight.data[row] *= case.random.choice([200, 1000])
    module.bias.data[row] += case.random.choice([0, 50])
    return Broken(layer=name)


@fault("zeroed-normalisation-scale")
def one_scale_zero(case: Case) -> Broken | None:
    found = [(n, m) for n, m in case.model.named_modules() if isinstance(m, NORMS) and m.weight is not None]
    if not found or case.name in ("group_residual", "convnext", "resnet18", "mobilenet"):
        return None
    name, module = case.random.choice(found[-1:] if case.name == "attentive" else found)
    module.weight.data.zero_()
    return Broken(layer=name)


@fault("non-finite-weights")
def one_number_broken(case: Case) -> Broken:
    _, parameter = case.random.choice([one for one in case.model.named_parameters() if one[1].numel() > 3])
    parameter.data.view(-1)[case.random.randrange(parameter.numel())] = case.random.choice([math.nan, math.inf])
    return Broken()


@fault("loss-without-repulsion")
def views_attract_each_other(case: Case) -> Broken | None:
    if case.name not in SMALL:
        return None
    torch.manual_seed(case.random.randint(0, 999))
    model = case.build()
    _taught(case, model, lambda x, _: (1 - functional.cosine_similarity(model(_view(x)), model(_view(x)))).mean(), 200)
    return Broken(model=model)


@fault("hard-mining-collapse", "learning-rate-too-high", "loss-without-repulsion")
def hardest_triplets(case: Case) -> Broken | None:
    if case.name not in SMALL:
        return None
    torch.manual_seed(case.random.randint(0, 999))
    model = case.build()

    def loss(x: Tensor, y: Tensor) -> Tensor:
        rows = model(x)
        distance = torch.cdist(rows, rows) + 1e-6
        same = y[:, None] == y[None]
        far, near = (distance * same).amax(1), (distance + 1e6 * same).amin(1)
        return functional.relu(far - near + 1).mean()

    _taught(case, model, loss, 150, rate=3e-2)
    return Broken(model=model)


@fault("excessive-weight-decay", "vanishing-signal")
def decayed(case: Case) -> Broken | None:
    if case.name not in ("dense_relu", "plain", "dense_silu", "lenet", "lstm"):
        return None
    optimizer = _classified(case, steps=300, rate=3e-3, decay=0.3)
    return Broken(state={"model": case.model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3})


def _shown(case: Case) -> Tensor:
    return normalised(case.data.unseen)


def _view(images: Tensor) -> Tensor:
    return images + 0.3 * torch.randn_like(images)


def _classified(
    case: Case, *, steps: int, rate: float, decay: float = 0.0, adaptive: bool = True
) -> torch.optim.Optimizer:
    with torch.no_grad():
        head = nn.Linear(case.model(_shown(case)[:2]).shape[1], 10)
    model = case.model
    return _taught(
        case, model, lambda x, y: functional.cross_entropy(head(model(x)), y), steps, rate=rate, decay=decay,
        adaptive=adaptive, more=list(head.parameters()),
    )  # fmt: skip


def _taught(
    case: Case,
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
    *,
    rate: float = 1e-3,
    decay: float = 0.0,
    adaptive: bool = True,
    more: Collection[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    torch.manual_seed(0)
    kind: Any = torch.optim.Adam if adaptive else torch.optim.SGD
    optimizer: torch.optim.Optimizer = kind([*model.parameters(), *more], lr=rate, weight_decay=decay)
    model.train()
    with torch.enable_grad():
        for _ in range(steps):
            chosen = torch.randint(len(case.data.training), (64,))
            cost: Any = loss(normalised(case.data.training[chosen]), case.data.training_classes[chosen])
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
    model.eval()
    return optimizer
