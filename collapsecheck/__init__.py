"""collapsecheck: finds out why the embeddings of a PyTorch model all look the same.

`scan` measures a checkpoint on a data set and returns a `Report`. Importing this package imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collapsecheck.version import __version__

if TYPE_CHECKING:
    from collapsecheck.reports import Report
    from collapsecheck.scanning import scan

__all__ = ["Report", "__version__", "scan"]


def __getattr__(name: str) -> Any:
    """Import the public names on first use."""
    if name == "scan":
        from collapsecheck.scanning import scan

        return scan
    if name == "Report":
        from collapsecheck.reports import Report

        return Report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
