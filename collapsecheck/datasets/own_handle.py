"""A handle that each process opens for itself: neither fork nor pickling passes an open file on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Handle = TypeVar("Handle")


class OwnHandle(Generic[Handle]):
    """Opens when first called in a process, and keeps what it opened there; `opener` must be picklable."""

    def __init__(self, opener: Callable[[], Handle]) -> None:
        self._opener = opener
        self._held: Handle | None = None
        self._process = -1

    def __call__(self) -> Handle:
        """Return the handle of this process."""
        if self._held is None or self._process != os.getpid():
            self._held, self._process = self._opener(), os.getpid()
        return self._held

    def __getstate__(self) -> dict[str, Any]:
        return {"_opener": self._opener, "_held": None, "_process": -1}
