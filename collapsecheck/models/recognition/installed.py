"""The part of the shipped index of torchvision that the installed release can build."""

from __future__ import annotations

from collapsecheck.models.recognition.index import Index, shipped


def installed_index() -> Index | None:
    """Return the index without models that the installed torchvision has not; None if no index was shipped."""
    from torchvision import models  # twice as long to import as torch, and a child process never needs it

    index = shipped("torchvision")
    if index is None:
        return None
    gone = frozenset(index.names) - set(models.list_models())
    return index.without(gone) if gone else index
