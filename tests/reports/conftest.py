from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"

MatchesGolden = Callable[[str, str], None]


@pytest.fixture
def matches_golden() -> MatchesGolden:
    """Compare with a file below golden/; `REGENERATE_GOLDEN=1 pytest tests/reports` writes it anew."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("REGENERATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{name} has changed; if it was meant to, regenerate it"

    return compare
