"""A module that was pickled whole, of classes that torch and torchvision ship: rebuilt by name, its code never run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import nn

from collapsecheck.checkpoints import Checkpoint, ModuleRecord, Name, Stand
from collapsecheck.checkpoints.state_dicts import Found, StateDict
from collapsecheck.errors import NotLoadableError, printable
from collapsecheck.models.architecture import Architecture
from collapsecheck.models.rebuilding import CannotRebuildError, Rebuilding, unknown_classes
from collapsecheck.models.sources import ModelSource
from collapsecheck.recognition.alignment import Shapes

_REMEDY = (
    "pass --model-def FILE:CALLABLE (its weights are then taken from this file), "
    "or --trust-checkpoint to run the class from your installed packages"
)
# What only passes its input on to the module inside it.
_AROUND = {
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
}
_LISTED = 5


class PickledModule(ModelSource):
    """`torch.save(model)`, without the class of the author."""

    rank: ClassVar[int] = 20

    def offer(self, checkpoint: Checkpoint, found: Found | None, *, trusted: bool) -> Architecture | None:
        """Rebuild the first pickled module that is of known parts.

        Raises
        ------
        NotLoadableError
            If the module that would be taken is not, and its code must not run.
        """
        refused: str | None = None
        for one in found.usable if found is not None else ():
            if one.module is None:
                continue
            try:
                return _rebuilt(checkpoint, one, one.module)
            except CannotRebuildError as error:
                if one is found.usable[0]:  # type: ignore[union-attr]  # there is one, as we are in the loop
                    refused = str(error)
        if refused is None or trusted:
            return None
        raise NotLoadableError(refused)


class KnownClasses(Architecture):
    """A rebuilt module, which has its weights."""

    trust: Literal["data-only", "known-classes", "code"] = "known-classes"

    def __init__(self, module: nn.Module, *, name: str, reason: str, assumed: Sequence[str]) -> None:
        self._module = module
        self.name = name
        self.reason = reason
        self.assumed = tuple(assumed)

    def expected(self) -> Shapes | None:
        """Nothing is to be loaded any more."""
        return None

    def build(self, given: Shapes, *, complete: bool = False) -> nn.Module:  # noqa: ARG002 - it is built
        """Return the module."""
        return self._module


def _rebuilt(checkpoint: Checkpoint, weights: StateDict, record: ModuleRecord) -> KnownClasses:
    inner, around = _unwrapped(record)
    unknown = unknown_classes(inner)
    if unknown:
        raise CannotRebuildError(_of_unknown_classes(inner, unknown))
    rebuilding = Rebuilding()
    try:
        module = rebuilding.module(inner).float().eval()
    except CannotRebuildError as error:
        raise CannotRebuildError(f"holds a pickled {printable(inner.path)}, but {error}; {_REMEDY}") from error
    assumed = [f"that nothing reads the attributes {_listed(rebuilding.left_out)}"] if rebuilding.left_out else []
    hidden = _hidden(checkpoint)
    if hidden and checkpoint.content is record:
        raise CannotRebuildError(
            f"holds a pickled {printable(inner.path)} with {_listed(hidden)} in hooks or containers of its layers, "
            f"which collapsecheck does not run; {_REMEDY}"
        )
    if hidden:
        assumed.append(f"that the pickled {_listed(hidden)} do not take part in the model")
    place = f" at {printable(weights.key)}" if weights.key else ""
    wrapped = f", out of {around}" if around else ""
    return KnownClasses(
        module,
        name=inner.path,
        reason=f"the pickled module{place}{wrapped}, rebuilt from classes of torch and torchvision",
        assumed=assumed,
    )


def _unwrapped(record: ModuleRecord) -> tuple[ModuleRecord, str]:
    """Take a module out of what only runs it on several devices, or compiled."""
    around = []
    while record.path in _AROUND:
        inner = record.children.get(_AROUND[record.path])
        if inner is None:
            break
        around.append(record.path.rpartition(".")[2])
        record = inner
    return record, " and ".join(around)


def _of_unknown_classes(record: ModuleRecord, unknown: Sequence[str]) -> str:
    if record.path in unknown:
        others = [path for path in unknown if path != record.path]
        inside = f", with layers of the classes {_listed(others)}" if others else ""
        return f"the module is of class {printable(record.path)}{inside}, which collapsecheck does not know; {_REMEDY}"
    return (
        f"the module is of class {printable(record.path)}, but has layers of the classes {_listed(unknown)}, "
        f"which collapsecheck does not know; {_REMEDY}"
    )


def _hidden(checkpoint: Checkpoint) -> list[str]:
    """Name what the pickle refers to, but is nowhere in what was read: hooks, and own classes of containers.

    Hooks are left out when a module is read; a model that needs them is not the one that would be rebuilt.
    """
    noted = [name for note in checkpoint.notes if note.id == "unknown-class-ignored" for name in note.names]
    if not noted:
        return []
    seen = set(_named(checkpoint.content))
    return [name for name in noted if name not in seen]


def _named(content: Any) -> Iterator[str]:
    waiting, seen = [content], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, Name):
            yield one.path
        if id(one) in seen or not isinstance(one, Mapping | list | tuple | Stand | ModuleRecord):
            continue
        seen.add(id(one))
        if isinstance(one, Stand):
            yield one.path
            waiting += [one.arguments, one.keywords, one.state, *one.items]
            waiting += [part for pair in one.pairs for part in pair]
        elif isinstance(one, ModuleRecord):
            yield one.path
            waiting += [one.attributes, one.children]
        else:
            waiting += one.values() if isinstance(one, Mapping) else one


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name, 80) for name in names[:_LISTED])
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
