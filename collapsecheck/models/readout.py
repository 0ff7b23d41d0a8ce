"""Which tensor of a model is the embedding, and how it is taken out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from collapsecheck.datasets.inputs import Inputs, count, described, mask_of
from collapsecheck.errors import CollapsecheckError, NotMeasuredError, UsageError, did_you_mean, printable
from collapsecheck.models.classifier import classifier_head
from collapsecheck.models.reduction import Pool, reduce_to_rows, select
from collapsecheck.user_code import in_one_line

if TYPE_CHECKING:
    from collapsecheck.models import LoadedModel


class Readout:
    """Runs a model on a batch and returns one embedding per item.

    `layer` is a key of `named_modules()`, "" for the model itself, whose output is then meant (`shown` says
    "output"); `where` tells whether the layer's input or output is taken, `reason` why, in one sentence.
    `field` names what is taken of the model's output where that has several parts. `reduction` says how its tensor
    became rows; it is known after the first batch.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        layer: str = "",
        where: Literal["input", "output"] = "output",
        reason: str,
        pool: Pool = "mean",
        field: str = "",
    ) -> None:
        self.layer = layer
        self.where = where
        self.reason = reason
        self.field = field
        self.reduction = ""
        self._module = module
        self._pool = pool
        self._caught: tuple[torch.Tensor, str] | None = None
        self._calls = 0
        self._attached = False

    @property
    def shown(self) -> str:
        """Name of the layer for people."""
        return self.layer or "output"

    @property
    def module(self) -> nn.Module:
        """The model it reads from."""
        return self._module

    def on(
        self, module: nn.Module, *, layer: str | None = None, where: Literal["input", "output"] | None = None
    ) -> Readout:
        """The same readout on a copy of the model, or at another layer of it."""
        return Readout(
            module,
            layer=self.layer if layer is None else layer,
            where=where or self.where,
            reason=self.reason,
            pool=self._pool,
            field=self.field,
        )

    @contextlib.contextmanager
    def attached(self) -> Iterator[Readout]:
        """Listen to the layer; the model is left as it was afterwards, whatever happens."""
        handles: list[Any] = []
        if self.layer:
            part = _layers(self._module)[self.layer]
            if self.where == "input":
                handles.append(part.register_forward_pre_hook(self._catch_input, with_kwargs=True))
            else:
                handles.append(part.register_forward_hook(self._catch_output))
        self._attached = True
        try:
            yield self
        finally:
            self._attached = False
            self._caught = None
            for handle in handles:
                handle.remove()

    def __call__(self, batch: Inputs) -> torch.Tensor:
        """Return the embeddings `[n, d]` of a batch `[n, …]`, or of several tensors by the model's arguments.

        Raises
        ------
        NotMeasuredError
            If the model fails on the batch, or returns nothing with one row per item. Running out of memory
            is not wrapped: a smaller batch helps against it.
        UsageError
            If the layer does not take part in the forward pass.
        """
        if not self._attached:
            raise RuntimeError("use the readout inside `with readout.attached():`")
        self._caught, self._calls = None, 0
        try:
            with contextlib.redirect_stdout(sys.stderr):  # a forgotten print must not get into the report
                returned = self._module(**batch) if isinstance(batch, dict) else self._module(batch)
            tensor, which = self._taken(returned)
            first = channels_first(self._module, tensor)
            rows, how = reduce_to_rows(tensor, count(batch), self._pool, channels_first=first, mask=mask_of(batch))
        except NotMeasuredError as error:
            subject = f"the layer {printable(self.layer)}" if self.layer else "the model"
            raise NotMeasuredError(f"{subject} {error}") from error
        except CollapsecheckError:
            raise
        except Exception as error:  # a model's forward may raise anything
            if out_of_memory(error):
                raise
            raise NotMeasuredError(
                f"the model failed on a batch {described(batch)}: "
                f"{in_one_line(error)}; check that the data fit the model: --size, --arch or --model-def"
            ) from error
        self._note(f"{which}, {how}" if which else how)
        return rows

    def _taken(self, returned: Any) -> tuple[torch.Tensor, str]:
        if not self.layer:
            return select(returned, self.field)
        if self._caught is None:
            raise UsageError(
                f"--layer {printable(self.layer)}: this layer is not executed when the model runs; "
                "choose another, or --layer output"
            )
        return self._caught

    def _note(self, reduction: str) -> None:
        """Keep what the first batch showed; a layout that depends on the batch's size cannot be trusted."""
        if not self.reduction:
            self.reduction = reduction
            if self._calls > 1:
                self.reason += f"; it runs {self._calls} times per batch, the last time counts"
        elif ("sequence first" in self.reduction) != ("sequence first" in reduction):
            raise NotMeasuredError(
                f"{printable(self.shown)}: unclear whether items or tokens come first in what it returns; "
                "use a --batch-size other than the number of tokens"
            )

    def _catch_input(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._catch(args[0] if args else next(iter(kwargs.values()), None))

    def _catch_output(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        self._catch(output)

    def _catch(self, value: Any) -> None:
        tensor, which = select(value)
        self._caught = tensor.clone(), which  # the next layer may overwrite it: nn.ReLU(inplace=True)
        self._calls += 1


def choose_readout(loaded: LoadedModel, layer: str | None = None, pool: Pool = "mean") -> Readout:
    """Choose the embedding of a model.

    Parameters
    ----------
    loaded
        The model.
    layer
        Key of `named_modules()` whose output is taken, or `output` for the model's own; chosen by itself
        without.
    pool
        What becomes of tokens: their mean, or the first of them.

    Raises
    ------
    UsageError
        If the model has no such layer.
    """
    module = loaded.module
    if layer is not None:
        known = _layers(module)
        if layer in known:
            return Readout(module, layer=layer, reason="chosen with --layer", pool=pool)
        if layer in ("", "output"):
            return Readout(module, reason="the model's output, chosen with --layer", pool=pool)
        hint = printable(did_you_mean(layer, [*known, "output"]))
        raise UsageError(f"--layer {printable(layer)}: the model has no such layer{hint}")
    place = loaded.architecture.embedding()
    if place is not None:
        return Readout(module, layer=place.layer, where=place.where, reason=place.reason, pool=pool, field=place.field)
    head = classifier_head(module)
    if head is not None:
        reason = f"the input of {printable(head)}, the last layer of a torchvision classifier"
        return Readout(module, layer=head, where="input", reason=reason, pool=pool)
    return Readout(module, reason="the model's output, as it is no torchvision classifier", pool=pool)


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    return {name: part for name, part in module.named_modules(remove_duplicate=False) if name}


def channels_first(module: nn.Module, tensor: torch.Tensor) -> bool:
    """Whether three axes are [n, c, t], as one-dimensional convolutions give them, and not [n, tokens, d].

    The widths of the model's layers tell: c is one of a convolution, and t is none of a layer that counts its units
    last. Where both would do, they are tokens.
    """
    if tensor.ndim != 3:
        return False
    first, last = set(), set()
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.ConvTranspose1d):
            first.add(part.out_channels)
        elif isinstance(part, nn.Linear):
            last.add(part.out_features)
        elif isinstance(part, nn.LayerNorm):
            last.add(part.normalized_shape[-1])
        elif isinstance(part, nn.Embedding):
            last.add(part.embedding_dim)
        elif isinstance(part, nn.RNNBase):
            last.add(part.hidden_size * (1 + part.bidirectional))
    return tensor.shape[1] in first and tensor.shape[2] not in last


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whichever device."""
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)
    )
