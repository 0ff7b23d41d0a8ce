"""How much a pickle may have copied in all."""

from __future__ import annotations

from collapsecheck.errors import NotLoadableError


class Budget:
    """How much may be copied in all: a pickle can ask for a copy of one long text a million times."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        """Count what is about to be copied, in bytes or entries.

        Raises
        ------
        NotLoadableError
            If it is more than an honest pickle of that length needs.
        """
        self.left -= count + 1
        if self.left < 0:
            raise NotLoadableError(
                "the pickle asks for far more memory than it has bytes, which no honest one does; "
                "get the weights from a source you trust"
            )
