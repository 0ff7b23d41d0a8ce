"""Models that run elsewhere, in a process of their own or in another library, seen as if they ran here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

DEEPEST = 32  # parts of a dotted name: walking through modules recurses, and names may come out of a hostile file
_KIND = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place in a computation that can be listened to.

    `name` is what whoever computes calls it, dots make it nested; `kind` what happens there (`Conv`), which reports
    show in place of a class; `units` how many channels or dimensions its result has, where that is known. `aliases`
    are other names under which it can be asked for.
    """

    name: str
    kind: str = "Tap"
    units: int | None = None
    aliases: tuple[str, ...] = ()


class TapModule(nn.Module):
    """Stands for one step of a computation that happens elsewhere; hooks on it hear that step.

    `out_features` is the number of its units, None where that is not known.
    """

    def __init__(self, units: int | None = None) -> None:
        super().__init__()
        self.out_features = units

    def forward(self, given: Tensor | None, returned: Any, within: Callable[[], None] | None = None) -> Any:  # noqa: ARG002 - hooks read it
        """Return `returned`, what the step made of `given`; `within` tells what happened inside it meanwhile."""
        if within is not None:
            within()
        return returned


class TappedModule(nn.Module):
    """Base of a module whose `forward` lets the computation happen elsewhere.

    It has a `TapModule` for each point, so that `named_modules()` shows the names of the points, and hooks can be put
    on them as on any layer. A subclass does three things in its `forward`: it asks `heard()` which points have hooks,
    has the results of these computed, and no others, and calls `tell` for each of them, in the order of execution::

        def forward(self, batch):
            result, steps = compute(batch, also=self.heard())
            for name, given, returned in steps:
                self.tell(name, given, returned)
            return result

    What is the same tensor should be the same object each time. What encloses other steps is told with `within`, a
    function that tells these (without it, tell the parts first). Copies (`copy.deepcopy`) hear for themselves; what the
    subclass keeps to compute with must say itself how it is copied.

    Parameters
    ----------
    points : in the order of execution. A name that no module can have (an empty part, `forward`) gets underscores;
        `path_of` tells what became of it. Points with the name of another one are left out, and aliases whose place is
        taken.
    """

    def __init__(self, points: Iterable[Point]) -> None:
        super().__init__()
        self._paths: dict[str, str] = {}
        points = list(points)
        for point in points:
            if point.name not in self._paths:
                self._paths[point.name] = self._insert(point.name, _tap(point))
        for point in points:
            for alias in point.aliases:
                self._insert_alias(alias, self.get_submodule(self._paths[point.name]))

    def path_of(self, name: str) -> str:
        """Return the key in `named_modules()` of a point; KeyError if there is none of this name."""
        return self._paths[name]

    def heard(self) -> tuple[str, ...]:
        """Return the names of the points that somebody listens to, in the order of execution."""
        found = ((name, self.get_submodule(path)) for name, path in self._paths.items())
        return tuple(name for name, tap in found if tap._forward_hooks or tap._forward_pre_hooks)

    def tell(self, name: str, given: Tensor | None, returned: Any, within: Callable[[], None] | None = None) -> None:
        """Let the hooks of a point hear what went in (None: not known) and what came out."""
        self.get_submodule(self._paths[name])(given, returned, within)

    def _insert(self, name: str, tap: nn.Module) -> str:
        """Put a module at a dotted name, as near to it as a module can have; return where."""
        *above, last = _parts(name)
        parent: nn.Module = self
        path = []
        for wanted in above:
            part = _free(parent, wanted)
            if part not in parent._modules:
                parent.add_module(part, TapModule())
            parent = parent.get_submodule(part)
            path.append(part)
        last = _free(parent, last)
        held = parent._modules.get(last)
        if type(held) is TapModule:  # made on the way to what lies in it
            for inner, module in held.named_children():
                tap.add_module(inner, module)
        else:
            while last in parent._modules:  # two names became one
                last = f"{last}_{len(parent._modules)}"
        parent._modules[last] = tap
        return ".".join((*path, last))

    def _insert_alias(self, name: str, tap: nn.Module) -> None:
        """Put a module at a second place, unless that is taken, or within a tap: what has parts is no single step."""
        *above, last = _parts(name)
        parent: nn.Module = self
        for part in above:
            free = part not in parent._modules and not hasattr(parent, part)
            if not free and type(parent._modules.get(part)) is not TapModule:
                return
            if free:
                parent.add_module(part, TapModule())
            parent = parent.get_submodule(part)
        if last not in parent._modules and not hasattr(parent, last):
            parent.add_module(last, tap)


def _tap(point: Point) -> TapModule:
    return _class(point.kind if _KIND.fullmatch(point.kind) else "Tap")(point.units)


@lru_cache(maxsize=1024)
def _class(kind: str) -> type[TapModule]:
    """Make a class that is named after what happens at a point: that name is what reports show."""
    return type(kind, (TapModule,), {"__module__": __name__})


def _parts(name: str) -> list[str]:
    parts = name.split(".")
    if len(parts) > DEEPEST:
        parts = [*parts[: DEEPEST - 1], "_".join(parts[DEEPEST - 1 :])]
    return [part or "_" for part in parts]


def _free(parent: nn.Module, part: str) -> str:
    """Return a name that is no attribute of the parent, unless that is a module."""
    while part not in parent._modules and hasattr(parent, part):
        part += "_"
    return part
