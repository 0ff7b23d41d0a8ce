"""What the names in a pickle say about it. Safety does not rest on this: nothing that a pickle names is imported."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from collapsecheck.checkpoints.formats import SafetyNote
from collapsecheck.errors import NotLoadableError, printable

# Modules of which nothing belongs into a checkpoint. A name that an honest file has would be a false alarm: those whose
# classes are saved now and then (types, operator, io.BytesIO, pathlib) are not here, nor those whose names a user may
# have given to a folder of his own (code, trace, profile, commands): of these, single functions are below.
_ATTACKS = frozenset({
    "os", "posix", "nt", "subprocess", "_posixsubprocess", "_winapi", "sys", "socket", "_socket", "runpy",
    "pty", "ctypes", "_ctypes", "shutil", "importlib", "_frozen_importlib", "imp", "pdb", "bdb", "webbrowser",
    "popen2", "marshal", "smtplib", "ftplib", "telnetlib", "antigravity",
})  # fmt: skip
_HARMLESS = frozenset({"os.stat_result", "posix.stat_result", "os.PathLike"})

# Builtins one by one. `getattr` is not among them: Python itself writes it for bound methods and nested classes.
_BUILTINS = (
    "eval", "exec", "execfile", "compile", "open", "file", "__import__", "setattr", "delattr", "input",
    "raw_input", "breakpoint", "globals", "locals", "apply", "reload", "exit", "quit",
)  # fmt: skip

_FUNCTIONS = frozenset({
    "io.open", "_io.open", "_io.FileIO", "io.FileIO", "codecs.open", "_pyio.open", "code.interact",
    "code.InteractiveInterpreter", "code.InteractiveConsole", "codeop.compile_command", "commands.getoutput",
    "commands.getstatusoutput", "timeit.timeit", "timeit.repeat", "timeit.main", "profile.run",
    "profile.runctx", "cProfile.run", "cProfile.runctx", "trace.Trace", "pip.main", "pip._internal.main",
    "urllib.urlopen", "urllib.urlretrieve", "urllib.request.urlopen", "urllib.request.urlretrieve",
    "urllib2.urlopen", "requests.get", "requests.post", "requests.api.get", "requests.api.post",
    "http.client.HTTPSConnection", "torch.hub.load", "torch.hub.load_state_dict_from_url",
    "torch.utils.collect_env.run", "torch.utils.cpp_extension.load", "torch.utils.cpp_extension.load_inline",
    "torch.from_file", "torch._inductor.codecache.compile_file", "multiprocessing.util.spawnv_passfds",
    "asyncio.create_subprocess_shell", "asyncio.create_subprocess_exec",
    "numpy.testing._private.utils.runstring", "logging.config.listen", "site.main", "uuid._get_command_stdout",
    *(f"builtins.{name}" for name in _BUILTINS),
})  # fmt: skip

# Reached through a module that imports it: `torch.serialization.os.system`.
_ATTACKS_AT_END = re.compile(
    r"\.(?:os|posix|nt|subprocess|sys|builtins|shutil|importlib)\."
    r"(?:system|popen\w*|exec\w*|spawn\w*|Popen|call|run|check_\w+|get\w*output|eval|open|remove|rmtree|import_module)$"
)

# What checkpoints hold without any class of its author's; nothing to tell a user.
_PLAIN = frozenset(
    [f"builtins.{name}" for name in (
        "dict", "list", "set", "frozenset", "tuple", "str", "int", "float", "bool", "bytes", "bytearray", "complex",
        "object", "range", "xrange", "slice", "getattr", "print", "type", "NoneType", "Ellipsis", "unicode", "long",
    )]
    + [
        "collections.OrderedDict", "collections.Counter", "collections.defaultdict", "collections.deque",
        "_codecs.encode", "copyreg._reconstructor", "copyreg.__newobj__", "argparse.Namespace",
        "types.SimpleNamespace", "torch.Size", "torch.device", "torch.dtype", "torch.Tensor", "torch.Generator",
        "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer", "torch.nn.Parameter",
        "torch.serialization._get_layout",
        "torch.storage.TypedStorage", "torch.storage.UntypedStorage", "torch.storage._TypedStorage",
        "torch.storage._load_from_bytes", "numpy.dtype", "numpy.ndarray",
    ]
)  # fmt: skip
_PLAIN_FORM = re.compile(
    r"torch\.[a-z]+\d+\w*|torch\.(?:bool|half|float|double|int|long|short)"  # types of numbers
    r"|torch\.(?:cuda\.|sparse\.)*[A-Z]\w*(?:Storage|Tensor)"
    r"|torch\._(?:utils|tensor)\._rebuild_\w+"
    r"|torch\.jit\._pickle\.\w+"
    r"|numpy\.(?:_?core)\.(?:multiarray|numeric)\.(?:scalar|_reconstruct|_frombuffer)"
    r"|pathlib\.(?:_local\.)?(?:Pure)?(?:Posix|Windows)?Path"
)


def refuse_attacks(names: Iterable[str]) -> None:
    """Refuse a pickle that names what no honest one does.

    Raises
    ------
    NotLoadableError
        If there is such a name; the message lists them.
    """
    found = [name for name in names if _is_attack(name)]
    if found:
        raise NotLoadableError(
            f"the pickle names {_listed(found)}, which could only be an attack (dangerous-global): nothing was "
            "executed; do not open the file with anything else, and get the weights from a source you trust"
        )


def unknown_classes(names: Iterable[str], interpreted: Collection[str]) -> tuple[SafetyNote, ...]:
    """Note the classes whose code was left out, but for `interpreted` ones and what any checkpoint names."""
    found = [name for name in names if name not in interpreted and not _is_plain(name)]
    if not found:
        return ()
    return (
        SafetyNote(
            id="unknown-class-ignored",
            message=f"names {_listed(found)}: read as data, its code was neither imported nor run",
            names=tuple(found),
        ),
    )


def _is_attack(name: str) -> bool:
    top = name.partition(".")[0]
    if name in _HARMLESS:
        return False
    return top in _ATTACKS or name in _FUNCTIONS or _ATTACKS_AT_END.search(name) is not None


def _is_plain(name: str) -> bool:
    return name in _PLAIN or _PLAIN_FORM.fullmatch(name) is not None


def _listed(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(printable(name, 80) for name in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
