"""A loss that the user's own code computes: `--loss FILE_OR_MODULE:CALLABLE`."""

from __future__ import annotations

import inspect
from pathlib import PurePath
from typing import TYPE_CHECKING

from collapsecheck.errors import UsageError, printable
from collapsecheck.objectives import NotComputable, Objective
from collapsecheck.user_code import in_one_line, load_callable, user_code

if TYPE_CHECKING:
    from torch import Tensor


class UserObjective(Objective):
    """A callable of embeddings [n, d], and of class numbers [n] where it takes them, that returns a scalar.

    A class is made an object of first, without arguments. Whatever goes wrong in it becomes a reason in the report.
    """

    WORDS = ()

    def __init__(self, reference: str) -> None:
        super().__init__()
        self.reference = reference
        target = load_callable(reference, option="--loss")
        if isinstance(target, type):
            try:
                with user_code(reference):
                    target = target()
            except Exception as error:  # code of the user's may raise anything
                raise UsageError(
                    f"--loss {printable(reference)}: is a class that could not be made without arguments: "
                    f"{in_one_line(error)}; name a function that returns one"
                ) from error
        self._target = target
        function = getattr(target, "forward", target)  # of a module only that has the arguments in its signature
        self.takes_labels, self.requires_labels = _labels_in(function)

    @property
    def id(self) -> str:
        """What the user wrote, without the folders."""
        source, _, name = self.reference.rpartition(":")
        return printable(f"{PurePath(source).name}:{name}", 60)

    @property
    def needs_labels(self) -> bool:
        """Whether its second argument has no default."""
        return self.requires_labels

    def loss(self, rows: Tensor, labels: Tensor | None, views: Tensor | None) -> Tensor:  # noqa: ARG002
        """Call it; anything but one number is not computable."""
        import torch

        if self.requires_labels and labels is None:
            raise NotComputable(f"{self.id} takes labels, and the data has none")
        try:
            with user_code(self.reference):
                value = self._target(rows, labels) if self.takes_labels else self._target(rows)
        except Exception as error:  # as above
            raise NotComputable(f"{self.id} failed on embeddings {list(rows.shape)}: {in_one_line(error)}") from error
        if not isinstance(value, torch.Tensor):
            raise NotComputable(f"{self.id} returned {type(value).__name__}, expected a tensor with one number")
        if value.numel() != 1:
            shape = list(value.shape)
            raise NotComputable(f"{self.id} returned a tensor of shape {shape}, expected one number: take its mean")
        if not value.requires_grad and rows.requires_grad:
            raise NotComputable(f"{self.id} returned a number that no longer depends on the embeddings (detached?)")
        return value.reshape(())


def _labels_in(function: object) -> tuple[bool, bool]:
    """Whether it takes a second argument, and whether it must have it."""
    try:
        parameters = list(inspect.signature(function).parameters.values())  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return True, False
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    rest = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    takes = len(places) > 1 or rest
    return takes, len(places) > 1 and places[1].default is inspect.Parameter.empty
