"""The only way in which a pickle is read: torch's weights-only unpickler, with nothing to fall back to."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.errors import NotLoadableError, printable

RESAVE = "re-save the weights with torch.save(model.state_dict(), FILE)"

# How the unpickler of torch names what it refused.
_REFUSED = re.compile(
    r"GLOBAL (.+?) (?:was not an allowed|whose module)|unrecognized (?:function|class) ([^\n]+)", re.DOTALL
)

# Lines of its message that say nothing about the file.
_PREAMBLE = ("Weights only load failed", "(1)", "(2)", "Please file an issue")


def load_weights_only(path: Path, *, mapped: bool) -> Mapping[Any, Any]:
    """Load what torch.save wrote; `mapped` leaves the tensors in the file until they are used.

    Raises
    ------
    NotLoadableError
        If the pickle names code, is damaged, or holds something else than a mapping.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch would warn of is said below, in one line
            if mapped and not path.name.endswith(".safetensors"):
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            else:  # an open file has no name for torch to follow: it takes *.safetensors at its word
                with path.open("rb") as file:
                    content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise NotLoadableError(f"{_refusal(str(error))}") from error
    except MemoryError as error:
        raise NotLoadableError(
            f"there is not enough memory for what the file declares; free some, or {RESAVE}"
        ) from error
    except Exception as error:  # the unpickler raises nearly anything on damaged bytes
        reason = printable(f"{type(error).__name__}: {_first_line(str(error))}")
        raise NotLoadableError(
            f"truncated or damaged checkpoint ({reason}); copy or download it again"
        ) from error
    if isinstance(content, torch.Tensor):
        raise NotLoadableError(
            f"holds one tensor, expected a state dict; for ready vectors use: collapsecheck embeddings FILE"
        )
    if not isinstance(content, Mapping):
        raise NotLoadableError(f"holds a {printable(type(content).__name__)}, expected a state dict; {RESAVE}")
    stored: Mapping[Any, Any] = _stored(content)
    return stored


def _stored(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return _InMemory(str(value.dtype).removeprefix("torch."), tuple(value.shape), value)
    if isinstance(value, dict):
        made = type(value)((key, _stored(one)) for key, one in value.items())
        if hasattr(value, "_metadata"):
            made._metadata = value._metadata
        return made
    return [_stored(one) for one in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class _InMemory(StoredTensor):
    dtype: str
    shape: tuple[int, ...]
    held: Any

    def tensor(self) -> Any:
        return self.held


def _refusal(message: str) -> str:
    """Say in one line why the unpickler refused; its own message recommends the unsafe way."""
    found = _REFUSED.search(message)
    if found is not None:
        name = printable(found[1] or found[2])
        return f"the pickle names code ({name}), which was refused: nothing was executed; {RESAVE}"
    if "Unsupported operand" in message:  # opcodes that only pickle protocols 4 and 5 write
        return (
            "the pickle has instructions that weights do not need, such as those of pickle protocol 4; "
            f"nothing was executed; {RESAVE} and the default pickle_protocol"
        )
    lines = (line.strip() for line in message.splitlines())
    reason = next((line for line in lines if line and not line.startswith(_PREAMBLE)), "no reason given")
    return f"the pickle was refused ({printable(reason)}): nothing was executed; {RESAVE}"


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]
