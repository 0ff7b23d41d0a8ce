from __future__ import annotations

from functools import cache

import pytest

from collapsecheck.recognition.alignment import Shapes
from collapsecheck.recognition.index import Index, shipped


@pytest.fixture(scope="session")
def index() -> Index:
    found = shipped("torchvision")
    assert found is not None
    return found


@cache
def published(name: str) -> Shapes:
    """Shapes as the index has them; test_index.py holds them against torchvision."""
    found = shipped("torchvision")
    assert found is not None
    return next(one.tensors for one in found.known if one.name == name)
