"""`half-precision-loss`: only where half precision is at work, and a wider type brings the items apart again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from collapsecheck.causes import Diagnosis
from collapsecheck.causes.half_precision_loss import computed_in
from collapsecheck.diagnosis import diagnose
from collapsecheck.examination import examine
from collapsecheck.scene import Scene
from collapsecheck.verdict import Verdict, judge
from tests.causes.conftest import convolutional, named, perceptron, scanned, trained


class Halved(nn.Module):
    """An encoder in half precision in a model that takes and gives float32."""

    def __init__(self, encoder: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder = encoder.to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.encoder(x.to(self.dtype)).float()
        return rows


def in_half(module: nn.Module) -> tuple[Verdict, tuple[Diagnosis, ...]]:
    """What a scan with `--precision fp16` finds."""
    scene, _, _ = scanned(module)
    probe = replace(scene.probe, precision="fp16")
    findings = examine(probe.seen)
    verdict = judge(probe.seen, findings)
    scene = Scene(seen=probe.seen, findings=findings, kind=verdict.kind, probe=probe, layers=probe.layers)
    return verdict, diagnose(scene, verdict)


@pytest.mark.parametrize("build", [convolutional, perceptron])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sound_models_in_half_precision_are_not_accused(build: Callable[[], nn.Sequential], dtype: torch.dtype) -> None:
    _, verdict, diagnoses = scanned(Halved(copy.deepcopy(trained(build)), dtype))
    assert verdict.status == "healthy" and not named(diagnoses)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_another_fault_in_half_precision_is_not_blamed_on_it(dtype: torch.dtype) -> None:
    net = copy.deepcopy(trained(perceptron))
    net[3].bias.data -= 50
    _, verdict, diagnoses = scanned(Halved(net, dtype))
    assert verdict.kind == "complete" and named(diagnoses) == "dead-relu"


def test_overflow_within_a_model_that_casts_itself() -> None:
    net = copy.deepcopy(trained(perceptron))
    net[1].weight.data *= 1e5
    net[1].bias.data *= 1e5
    net[3].weight.data /= 1e5
    _, verdict, diagnoses = scanned(Halved(copy.deepcopy(net), torch.float16))
    assert verdict.kind == "non-finite" and named(diagnoses) == "half-precision-loss"
    assert diagnoses[0].layer == "encoder.1"
    verdict, diagnoses = in_half(net)
    assert named(diagnoses) == "half-precision-loss"


def test_the_digits_that_an_offset_leaves_to_half_precision() -> None:
    net = copy.deepcopy(trained(perceptron))
    net[5].bias.data += 3e4  # 16 lie between neighbours there
    net = nn.Sequential(*net, nn.LayerNorm(64, elementwise_affine=False))
    verdict, diagnoses = in_half(net)
    assert verdict.kind is not None and named(diagnoses) == "half-precision-loss"


def test_the_wide_twin_computes_the_same() -> None:
    scene, _, _ = scanned(trained(convolutional))
    twin = computed_in(scene.confirm, torch.float64)
    assert twin.embeddings == pytest.approx(scene.confirm.embeddings, rel=1e-3, abs=1e-3)
    assert next(scene.module.parameters()).dtype == torch.float32
