"""What cannot be checked gets a reason; nothing fails, nothing passes unseen, nothing is left changed."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.autograd import Function

from collapsecheck.observe.gradcheck import Gradient, gradient_checks
from collapsecheck.observe.gradcheck.listening import custom_functions

from .conftest import Checked, probe_of
from .functions import RIGHT, WIDTH, WRONG, Holder, SwishSign, TanhSetup

wrong = SwishSign.apply  # bound before anything listens


class Plain(Function):
    """Its parts are replaced below."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad * x.cos()


class NoBackward(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2


class WholeNumbers(Plain):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.argmax(1, keepdim=True)


class Marked(Plain):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rounded = x.round()
        ctx.mark_non_differentiable(rounded)
        return rounded


class SingleOnly(Plain):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        return Plain.forward(ctx, x)


class SingleOnlySign(SingleOnly):
    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return -Plain.backward(ctx, grad)


class OnceOnly(Plain):
    count = 0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        OnceOnly.count += 1
        if OnceOnly.count > 1:
            raise ValueError("only once.")
        return Plain.forward(ctx, x)


class Restless(Plain):
    """Draws from a generator of its own."""

    generator = np.random.default_rng(0)

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return Plain.forward(ctx, x) * float(Restless.generator.normal())


class Transformed(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.tanh()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (y,) = ctx.saved_tensors
        return grad * (1 - y * y)


class OfList(Function):
    @staticmethod
    def forward(ctx: Any, parts: Any, weight: Tensor, flag: bool, name: str) -> Tensor:
        ctx.save_for_backward(weight, *parts)
        return sum(parts) * weight

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        _, *parts = ctx.saved_tensors
        return None, grad * sum(parts), None, None


class GivesUp(Plain):
    """Frees what it needed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.x = x.detach()
        return x.sin()

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        given = grad * ctx.x.cos()
        del ctx.x
        return given


class Empties(Function):
    """Gives the memory of its input away, as reversible networks do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.exp()
        ctx.save_for_backward(y)
        x.untyped_storage().resize_(0)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (y,) = ctx.saved_tensors
        return grad * y


class SparseRows(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = table.shape
        return table[rows]

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (rows,) = ctx.saved_tensors
        return torch.sparse_coo_tensor(rows[None], grad, ctx.shape), None


class Recomputes(Function):
    """A checkpoint of the user's own."""

    @staticmethod
    def forward(ctx: Any, run: Any, x: Tensor) -> Tensor:
        ctx.run = run
        ctx.save_for_backward(x)
        with torch.no_grad():
            return run(x)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.run(x)
        torch.autograd.backward(y, grad)
        return None, x.grad


def made_within(x: Tensor) -> Tensor:
    class Local(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.exp()

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad

    return Local.apply(x)


def without_gradients(x: Tensor) -> Tensor:
    with torch.no_grad():
        return wrong(x)


def in_inference_mode(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return wrong(x)


def cast(x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return wrong(x @ x.mT).float()


def checkpointed(reentrant: bool) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.utils.checkpoint.checkpoint(wrong, x, use_reentrant=reentrant)


REASONS: dict[str, tuple[Callable[[Tensor], Tensor], Gradient, str]] = {
    "no backward": (NoBackward.apply, Gradient.SKIPPED, "no backward"),
    "integer outputs": (lambda x: x + WholeNumbers.apply(x), Gradient.SKIPPED, "can be differentiated"),
    "marked": (lambda x: x + Marked.apply(x), Gradient.SKIPPED, "can be differentiated"),
    "only once": (OnceOnly.apply, Gradient.SKIPPED, "only once"),
    "restless": (Restless.apply, Gradient.RANDOM, "each time"),
    "transformed": (torch.vmap(Transformed.apply), Gradient.SKIPPED, "torch.func"),
    "empty": (lambda x: x + wrong(x[:0]).sum(), Gradient.SKIPPED, "empty"),
    "whole numbers": (lambda x: x + Plain.apply(x.long()), Gradient.SKIPPED, "no tensor of real"),
    "not a number": (lambda x: Plain.apply(x / 0 * 0), Gradient.NOT_DIFFERENTIABLE, "NaN"),
    "single only": (SingleOnly.apply, Gradient.RIGHT, "single precision"),
    "single only, wrong": (SingleOnlySign.apply, Gradient.WRONG, "finite differences"),
    "made within": (made_within, Gradient.WRONG, "finite differences"),
    "no_grad": (without_gradients, Gradient.WRONG, "finite differences"),
    "inference mode": (lambda x: in_inference_mode(x).clone(), Gradient.WRONG, "finite differences"),
    "autocast": (cast, Gradient.WRONG, "finite differences"),
    "checkpointed": (checkpointed(reentrant=False), Gradient.WRONG, "finite differences"),
    "checkpointed, re-entrant": (checkpointed(reentrant=True), Gradient.WRONG, "finite differences"),
    "given up": (GivesUp.apply, Gradient.RIGHT, ""),
    "emptied": (lambda x: Empties.apply(x * 1.0), Gradient.RIGHT, ""),
    "sparse": (lambda x: SparseRows.apply(x, torch.tensor([0, 3, 3, 5, 1, 2, 6, 7])), Gradient.RIGHT, ""),
    "setup_context": (TanhSetup.apply, Gradient.RIGHT, ""),
    "transposed": (lambda x: Plain.apply(x.mT).mT, Gradient.RIGHT, ""),
    "transposed, wrong": (lambda x: wrong(x.mT).mT, Gradient.WRONG, "finite differences"),
    "expanded, wrong": (lambda x: wrong(x[:, :1].expand(-1, 5)), Gradient.WRONG, "finite differences"),
    "channels last, wrong": (
        lambda x: wrong(x.view(-1, 4, 2, 2).to(memory_format=torch.channels_last)),
        Gradient.WRONG,
        "finite differences",
    ),
    "other arguments": (lambda x: OfList.apply([x, x], x.cos(), True, "a"), Gradient.RIGHT, ""),
}


@pytest.mark.parametrize("name", REASONS)
def test_each_gets_a_reason(checked: Checked, name: str) -> None:
    OnceOnly.count = 0
    call, outcome, words = REASONS[name]
    torch.manual_seed(0)
    found = checked(Holder(call))
    assert [one.outcome for one in found] == [outcome], found
    assert words in found[0].message and "\n" not in found[0].message
    assert found[0].message or outcome is Gradient.RIGHT


def test_there_is_nothing_to_check(checked: Checked) -> None:
    assert checked(nn.Linear(WIDTH, WIDTH)) == ()


def test_it_is_not_wanted() -> None:
    assert gradient_checks(probe_of(WRONG["SwishSign"](), torch.randn(8, WIDTH)), "never") is None


def test_no_items(checked: Checked) -> None:
    (found,) = checked(WRONG["SwishSign"](), torch.randn(0, WIDTH))
    assert found.outcome is Gradient.SKIPPED and "no item" in found.message


def test_a_model_that_cannot_be_copied(checked: Checked) -> None:
    model = WRONG["SwishSign"]()
    model.lock = threading.Lock()
    (found,) = checked(model)
    assert found.outcome is Gradient.SKIPPED and "copied" in found.message


def test_a_model_that_fails_after_the_operation(checked: Checked) -> None:
    failed, found = checked(Holder(lambda x: wrong(x) @ torch.ones(3, 3)))
    assert (failed.outcome, found.outcome) == (Gradient.SKIPPED, Gradient.WRONG)
    assert "not all was seen" in failed.message


class OfTokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, WIDTH)
        self.body = WRONG["SwishSign"]()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.body(self.embedding(input_ids).mean(1))


@pytest.mark.parametrize("masked", [False, True])
def test_tokens(checked: Checked, masked: bool) -> None:
    ids = torch.randint(0, 10, (8, 5))
    (found,) = checked(OfTokens(), {"input_ids": ids, "attention_mask": torch.ones(8, 5)} if masked else ids)
    assert (found.module, found.outcome) == ("body", Gradient.WRONG)


def test_compiled_models(checked: Checked) -> None:
    within = WRONG["SwishSign"]()
    within.compile()
    for model in (torch.compile(WRONG["SwishSign"]()), within):
        (found,) = checked(model)
        assert found.outcome is Gradient.WRONG


def test_parameters_made_in_inference_mode(checked: Checked) -> None:
    with torch.inference_mode():
        model = WRONG["SwishSign"]()
    (found,) = checked(model)
    assert found.outcome is Gradient.WRONG


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(checked: Checked, dtype: torch.dtype) -> None:
    rows = torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(0)).to(dtype)
    for table, name, outcome in ((WRONG, "SwishSign", Gradient.WRONG), (RIGHT, "Swish", Gradient.RIGHT)):
        (found,) = checked(table[name]().to(dtype), rows)
        assert found.outcome is outcome


class FirstLayer(Function):
    """Gives no gradient for data."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        return None, x.mT @ grad


class Stem(nn.Module):
    def __init__(self, trained: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, 4), requires_grad=trained)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(FirstLayer.apply(x, self.weight))


def test_nobody_misses_the_gradient_of_data(checked: Checked) -> None:
    (found,) = checked(Stem())
    assert found.outcome is Gradient.RIGHT and "nothing that is trained" in found.message
    behind = nn.Sequential(nn.Linear(WIDTH, WIDTH), Stem())
    (found,) = checked(behind)
    assert found.outcome is Gradient.WRONG and found.known_by == "returns-none"


def test_nobody_misses_the_gradient_of_what_is_frozen(checked: Checked) -> None:
    class Fixed(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(weight)
            return x * weight

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * ctx.saved_tensors[0], None

    model = Holder(Fixed.apply, (WIDTH,))
    (found,) = checked(model)
    assert found.outcome is Gradient.WRONG
    model.own.requires_grad_(False)
    (found,) = checked(model)
    assert found.outcome is Gradient.RIGHT


def test_inherited_and_called_by_others(checked: Checked) -> None:
    class Child(SwishSign):
        pass

    class Caller(SwishSign):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return SwishSign.forward(ctx, x)

    found = checked(Holder(lambda x: Child.apply(x) + Caller.apply(x)))
    assert {one.function for one in found} == {"Child", "Caller"}
    assert all(one.outcome is Gradient.WRONG for one in found)


def test_operators_of_torch_library(checked: Checked) -> None:
    @torch.library.custom_op("collapsecheck_test::square", mutates_args=())
    def square(x: Tensor) -> Tensor:
        return x * x

    def setup(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])

    square.register_autograd(lambda ctx, grad: grad * ctx.saved_tensors[0], setup_context=setup)
    (found,) = checked(Holder(lambda x: square(x) * 1))
    assert found.outcome is Gradient.WRONG and "square" in found.function


def test_many_calls(checked: Checked) -> None:
    """What is left out is counted."""
    found = checked(nn.Sequential(*[RIGHT["Swish"]() for _ in range(140)]), torch.randn(4, WIDTH))
    assert sum(one.outcome is Gradient.RIGHT for one in found) == 128
    assert sum(one.outcome is Gradient.SKIPPED for one in found) == 12


def test_layers(checked: Checked) -> None:
    model = nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.Dropout(), nn.Flatten(), WRONG["SwishSign"](),
    )  # fmt: skip
    found = checked(model, None, "layers")
    wrong = [one for one in found if one.outcome is Gradient.WRONG]
    assert [(one.function, one.module) for one in wrong] == [("SwishSign", "7")]
    right = {one.function for one in found if one.outcome is Gradient.RIGHT}
    assert right >= {"Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Linear"}


class Layer(nn.Module):
    """A layer of torch's operations, of which one has no gradient that it should."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.detach() + 0 * self.scale


def test_a_layer_that_cuts_its_own_gradient(checked: Checked) -> None:
    (found,) = checked(nn.Sequential(Layer()), None, "layers")
    assert found.outcome is Gradient.DELIBERATE and "of scale a part is cut off" in found.message


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return wrong(x)


def test_a_layer_around_a_wrong_function(checked: Checked) -> None:
    found = checked(nn.Sequential(Own()), None, "layers")
    assert {one.function: one.outcome for one in found} == {"Own": Gradient.WRONG, "SwishSign": Gradient.WRONG}


def test_recurrent_layers(checked: Checked) -> None:
    found = checked(nn.Sequential(nn.LSTM(WIDTH, 4, batch_first=True)), torch.randn(4, 3, WIDTH), "layers")
    assert [(one.function, one.outcome) for one in found] == [("LSTM", Gradient.RIGHT)]


def test_nothing_is_left_changed() -> None:
    torch.manual_seed(3)
    block = nn.Linear(WIDTH, WIDTH)
    model = nn.Sequential(nn.BatchNorm1d(WIDTH), WRONG["SwishSign"](), RIGHT["DropoutOfMask"](), block).train()
    model.append(Holder(lambda x: Recomputes.apply(lambda z: wrong(block(z)), x)))  # holds a layer of the model itself
    heard: list[int] = []
    model.register_forward_hook(lambda *_: heard.append(1))
    model(torch.randn(8, WIDTH)).sum().backward()
    before = copy.deepcopy(model.state_dict())
    gradients = {name: (one.grad, one.grad.clone()) for name, one in model.named_parameters() if one.grad is not None}
    flags = {name: one.requires_grad for name, one in model.named_parameters()}
    hooks = {name: (dict(one._forward_hooks), dict(one._forward_pre_hooks)) for name, one in model.named_modules()}
    kinds = {kind: dict(kind.__dict__) for kind in custom_functions()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    apply = Function.__dict__.get("apply")
    for which in ("custom", "layers"):
        assert gradient_checks(probe_of(model, torch.randn(8, WIDTH, generator=torch.Generator())), which)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    for name, one in model.named_parameters():
        held, numbers = gradients[name]
        assert one.grad is held and torch.equal(held, numbers)
    assert flags == {name: one.requires_grad for name, one in model.named_parameters()}
    for name, one in model.named_modules():
        assert hooks[name] == (dict(one._forward_hooks), dict(one._forward_pre_hooks))
    assert all(dict(kind.__dict__) == was for kind, was in kinds.items())
    assert Function.__dict__.get("apply") is apply
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all() and random.getstate() == states[2]


def test_it_says_the_same_each_time(checked: Checked) -> None:
    model = nn.Sequential(WRONG["LayerNormNoMean"](), RIGHT["Softmax"]())
    assert checked(model) == checked(model)


def test_a_large_model_keeps_nothing_for_a_backward(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collapsecheck.observe.gradcheck.recording.LARGE_MODEL", 1)
    found = checked(nn.Sequential(RIGHT["CustomLinear"](), nn.Linear(8, WIDTH), Stem(), nn.Linear(4, 4)))
    assert [one.outcome for one in found] == [Gradient.RIGHT, Gradient.WRONG]
    monkeypatch.setattr("collapsecheck.observe.differentiable.COPIED", 0)
    (found_too,) = checked(WRONG["SwishSign"]())
    assert found_too.outcome is Gradient.WRONG


def test_whatever_fails_costs_no_scan(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr("collapsecheck.observe.gradcheck.recording.record", broken)
    (found,) = checked(WRONG["SwishSign"]())
    assert found.outcome is Gradient.SKIPPED and "no more" in found.message
