from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from collapsecheck.observe.layers import COORDINATES, Layer, LayerRecorder


def recorded(model: nn.Module, *batches: Tensor, sequences: bool = False) -> LayerRecorder:
    recorder = LayerRecorder(model.eval())
    with torch.inference_mode():
        for batch in batches:
            with recorder.attached(len(batch), sequences=sequences):
                model(batch)
    return recorder


def layers(model: nn.Module, *batches: Tensor) -> dict[str, Layer]:
    return {str(layer.site): layer for layer in recorded(model, *batches).layers()}


def test_small_outputs_are_kept_whole_and_measured_as_rows() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU()), torch.randn(40, 6)
    found = layers(model, x[:25], x[25:])
    rows = model(x).detach().double().numpy()
    flow = found["1"].after
    np.testing.assert_allclose(flow.rows, rows)
    centred = rows - rows.mean(0)
    spread = np.sqrt(np.square(centred).sum() / 39 / (np.square(centred).sum() / 39 + np.square(rows.mean(0)).sum()))
    assert flow.relative_spread == pytest.approx(spread)
    alive = rows[np.linalg.norm(rows, axis=1) > 0]
    unit = alive / np.linalg.norm(alive, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
    assert flow.mean_cosine == pytest.approx(cosines.mean())
    before = found["1"].before
    assert before is not None
    np.testing.assert_allclose(before.rows, model[0](x).detach().double().numpy())
    np.testing.assert_allclose(flow.firing, (rows > 0).mean(0))
    assert found["1"].gain == pytest.approx(flow.rms / before.rms)
    assert found["0"].units == 5 and found["0"].shape == (5,) and [one.depth for one in found.values()] == [0, 1]


@pytest.mark.parametrize(
    ("value", "spread", "cosine"),
    [(0.0, 0.0, np.nan), (3.0, 0.0, 1.0), (np.nan, np.nan, np.nan), (np.inf, np.nan, np.nan)],
)
def test_degenerate_outputs(value: float, spread: float, cosine: float) -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 5), value)

    flow = layers(nn.Sequential(Constant()), torch.randn(20, 6))["0"].after
    assert flow.relative_spread == pytest.approx(spread, nan_ok=True)
    assert flow.mean_cosine == pytest.approx(cosine, nan_ok=True)
    assert flow.finite == np.isfinite(value)
    if flow.finite:
        assert flow.constant_units == 1.0 and np.isnan(flow.effective_rank)


def test_one_item_has_no_spread_but_does_not_fail() -> None:
    flow = layers(nn.Sequential(nn.Linear(6, 5)), torch.randn(1, 6))["0"].after
    assert np.isnan([flow.relative_spread, flow.effective_rank, flow.position_spread]).all() and flow.rms > 0


def test_units_are_told_from_positions() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU(), nn.Flatten(2), nn.MaxPool1d(2))
    found = layers(model, torch.randn(4, 3, 10, 12))
    assert found["0"].units == found["1"].units == 7
    assert found["0"].after.values.shape == (4, 7, 4)
    tokens = nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.LayerNorm(9))
    found = layers(tokens, torch.randn(4, 11, 6))
    assert [one.units for one in found.values()] == [9, 9, 9]
    assert found["2"].after.values.shape == (4, 9, 4)


def test_wide_outputs_are_sampled_alike_in_every_batch() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 3000)), torch.randn(40, 6)
    whole, parts = (layers(model, *batches)["0"].after.rows for batches in ([x], [x[:7], x[7:]]))
    assert whole.shape == (40, COORDINATES)
    np.testing.assert_allclose(whole, parts, rtol=1e-5, atol=1e-6)
    full = model(x).detach().double().numpy()
    assert all(any(np.allclose(column, other) for other in full.T) for column in whole.T[:5])


def test_positions_that_are_alike_within_an_item() -> None:
    x = torch.randn(30, 8, 1) * torch.ones(1, 8, 6)  # all positions of a channel are equal
    flow = layers(nn.Sequential(nn.Identity(), nn.Conv1d(8, 8, 1)), x)["1"].after
    assert flow.position_spread == pytest.approx(0, abs=1e-6)
    assert layers(nn.Sequential(nn.Conv1d(8, 8, 1)), torch.randn(30, 8, 6))["0"].after.position_spread > 0.5


def test_rows_of_windows_and_of_sequences_first_belong_to_their_items() -> None:
    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)
            self.rnn = nn.GRU(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            windows = self.inner(x.reshape(-1, 2, 3)).reshape(len(x), -1, 3)
            return self.rnn(windows.transpose(0, 1))[0]

    model, x = Windows(), torch.randn(9, 4, 3)
    found = layers(model, x)
    assert found["inner"].after.values.shape[0] == found["rnn"].after.values.shape[0] == 9
    assert found["rnn"].units == 2


def test_what_has_no_row_per_item_is_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum(0, keepdim=True)[:, :5].expand(3, 5)

    recorder = recorded(nn.Sequential(nn.Linear(6, 6), Odd()), torch.randn(4, 6))
    assert [str(one.site) for one in recorder.layers()] == ["0"]
    assert [(str(site), "[3, 5]" in reason) for site, reason in recorder.unseen.items()] == [("1", True)]


def test_a_pass_that_fails_leaves_nothing_behind() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    recorder = LayerRecorder(model)
    with pytest.raises(ZeroDivisionError), recorder.attached(4):
        model(torch.randn(4, 6))
        raise ZeroDivisionError
    with recorder.attached(3):
        model(torch.randn(3, 6))
    assert {len(one.after.values) for one in recorder.layers()} == {3} and recorder.items == 3


def test_padded_sequences_of_different_lengths() -> None:
    model = nn.Sequential(nn.Embedding(10, 6), nn.Linear(6, 4))
    recorder = recorded(model, torch.ones(3, 7, dtype=torch.long), torch.ones(2, 2, dtype=torch.long), sequences=True)
    assert [one.after.values.shape for one in recorder.layers()] == [(5, 6, 4), (5, 4, 4)]


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "swin_t", "densenet121"])
def test_every_step_of_known_architectures_is_seen(arch: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(arch, weights=None)
    recorder = recorded(model, torch.randn(6, 3, 64, 64))
    seen = {one.site.layer for one in recorder.layers()}
    leaves = {name for name, part in model.named_modules() if name and not list(part.children())}
    # Swin calls the functions of its attention with the weights of these; dropout with p = 0 returns its input.
    silent = {name for name in leaves if name.endswith((".attn.qkv", ".attn.proj"))}
    assert leaves - seen - silent == set()
    assert all(np.isfinite(one.after.relative_spread) for one in recorder.layers())
