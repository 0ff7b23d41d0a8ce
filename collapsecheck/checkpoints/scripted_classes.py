"""What the code of a TorchScript archive says of its classes; it is looked at as text, never compiled.

An object in `data.pkl` is a bag of attributes. Only the code tells which of its tensors are parameters and which are
buffers, and so what `state_dict()` of the loaded module would hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collapsecheck.checkpoints.zip_archive import Archive

PREFIX = "__torch__"

_MANGLED = re.compile(r"\.___torch_mangle_\d+")
_CLASS = re.compile(r"class ([^\s(:]+)\(Module\):")
_LIST = re.compile(r"  __(parameters|buffers)__ = \[(.*)\]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LARGEST = 16 << 20  # bytes of one file of code, unpacked
_LARGEST_TOGETHER = 256 << 20


@dataclass(frozen=True, slots=True)
class ScriptedClass:
    """The names of a class's own tensors, in the order in which `state_dict()` gives them."""

    parameters: tuple[str, ...]
    buffers: tuple[str, ...]


def is_module_class(path: str) -> bool:
    """Whether a name in `data.pkl` is that of a class whose code is in the archive."""
    return path.startswith(f"{PREFIX}.")


def original_name(path: str) -> str:
    """`__torch__.torch.nn.modules.linear.___torch_mangle_3.Linear` -> `torch.nn.modules.linear.Linear`."""
    return _MANGLED.sub("", path).removeprefix(f"{PREFIX}.")


def scripted_classes(archive: Archive, paths: Iterable[str]) -> Mapping[str, ScriptedClass]:
    """Return those of the classes whose code is in the archive and names their tensors, by path.

    Raises
    ------
    NotLoadableError
        If a file of code is damaged or larger than any honest one.
    """
    found: dict[str, ScriptedClass] = {}
    wanted: dict[str, set[str]] = {}
    for path in paths:
        package, _, name = path.rpartition(".")
        wanted.setdefault(f"code/{package.replace('.', '/')}.py", set()).add(name)
    left = _LARGEST_TOGETHER
    for member, names in wanted.items():
        if member not in archive.members:
            continue
        text = archive.content(member, limit=min(left, _LARGEST)).decode("utf-8", "replace")
        left -= len(text)
        package = member.removeprefix("code/").removesuffix(".py").replace("/", ".")
        for name, scripted in _classes(text).items():
            if name in names:
                found[f"{package}.{name}"] = scripted
    return found


def _classes(text: str) -> dict[str, ScriptedClass]:
    found: dict[str, ScriptedClass] = {}
    name: str | None = None
    held: dict[str, tuple[str, ...]] = {}
    for line in (*text.splitlines(), "class "):
        if line.startswith("class "):
            if name is not None and "parameters" in held:
                found[name] = ScriptedClass(held["parameters"], held.get("buffers", ()))
            begin = _CLASS.match(line)
            name, held = (begin[1] if begin else None), {}
        elif (listed := _LIST.match(line)) is not None:
            held.setdefault(listed[1], tuple(_QUOTED.findall(listed[2])))
    return found
