"""Right functions are silent, wrong ones are named, and what is meant to be no derivative is told apart."""

from __future__ import annotations

import pytest
import torch

from collapsecheck.observe.gradcheck import Gradient

from . import functions, further, unseen
from .conftest import Checked

RIGHT = {**functions.RIGHT, **further.RIGHT, **unseen.RIGHT}
DELIBERATE = {**functions.DELIBERATE, **further.DELIBERATE, **unseen.DELIBERATE}
WRONG = {**functions.WRONG, **further.WRONG, **unseen.WRONG}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("seed", [0, 1])
def test_right_ones(checked: Checked, name: str, seed: int) -> None:
    torch.manual_seed(seed)
    found = checked(RIGHT[name]())
    assert [(one.function, one.outcome) for one in found] == [(name, Gradient.RIGHT)], found


@pytest.mark.parametrize("name", DELIBERATE)
def test_what_is_no_derivative_on_purpose(checked: Checked, name: str) -> None:
    torch.manual_seed(0)
    found = checked(DELIBERATE[name]())
    assert [(one.function, one.outcome) for one in found] == [(name, Gradient.DELIBERATE)], found
    assert len(found[0].message) > 20


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("seed", [0, 1])
def test_wrong_ones(checked: Checked, name: str, seed: int) -> None:
    torch.manual_seed(seed)
    found = checked(WRONG[name]())
    assert [(one.function, one.outcome) for one in found] == [(name, Gradient.WRONG)], found
    assert found[0].message and found[0].known_by


def test_the_worst_entry_is_named(checked: Checked) -> None:
    torch.manual_seed(0)
    (found,) = checked(WRONG["OneBorderWrong"]())
    assert (found.argument, found.entry, found.analytic) == ("argument 0", (7, 15), 0.0)


@pytest.mark.parametrize(("name", "ratio"), [("SwishSign", -1.0), ("SquareOnce", 0.5), ("LinearBiasMean", 0.125)])
def test_a_constant_factor_is_told(checked: Checked, name: str, ratio: float) -> None:
    (found,) = checked(WRONG[name]())
    assert found.ratio == pytest.approx(ratio, rel=1e-3)
