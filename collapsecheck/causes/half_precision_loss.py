"""Cause `half-precision-loss`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.causes.stale_batchnorm import recalibrated
from collapsecheck.checks import Kind
from collapsecheck.observe.forward import AUTOCAST, Forward
from collapsecheck.observe.probe import Probe
from collapsecheck.observe.rewriting import rewrite
from collapsecheck.scene import Scene

_HALVES = (torch.float16, torch.bfloat16)
_NARROW = (*_HALVES, torch.float32)
_RUNNING = ("running_mean", "running_var")
_ITEMS = 4  # that are run to see what is computed in half precision


class HalfPrecisionLoss(Cause):
    """Numbers do not fit into half precision: they overflow, underflow, or lose the digits in which items differ.

    float16 ends at 65504 and at 6e-8, and keeps three digits; bfloat16 has the range of float32, but two digits. The
    experiment computes the same in float64; the sham changes each weight by one rounding and stays in half precision.
    Running statistics that overflowed when a checkpoint was stored in float16 are measured anew; values that became 0
    are gone.
    """

    explains = frozenset(set(Kind))

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """See whether anything is computed in half precision, or was stored in it and overflowed."""
        lost = _overflowed(scene)
        if lost:
            depths = {layer.site.layer: layer.depth for layer in scene.layers}
            first = min(lost, key=lambda name: depths.get(name, 0))
            yield Suspicion(
                layer=first,
                depth=depths.get(first, 0) - 0.25,
                evidence=(
                    f"running statistics of {len(lost)} layers, first of {first}, are infinite, and all other numbers "
                    "of the model are those that float16 can hold: they overflowed when it was stored"
                ),
                known=True,
                numbers={"stored": True},
            )
        dtype = _computed_in(scene.probe)
        if dtype is None:
            return
        onset = scene.onset
        name = str(dtype).removeprefix("torch.")
        yield Suspicion(
            layer=onset.layer if onset is not None else "",
            depth=(onset.depth if onset is not None else 0.0) - 0.5,
            evidence=(
                f"the model computes in {name}, which ends at {torch.finfo(dtype).max:.3g} "
                f"and at {torch.finfo(dtype).smallest_normal:.1g}"
                + (f"; the loss begins at {onset.step}" if onset is not None else "")
            ),
            numbers={"stored": False},
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Compute in float64; as a sham, change each weight by one rounding."""
        if suspicion.numbers["stored"]:
            lost = _overflowed(scene)
            sound = [layer.site.layer for layer, _ in scene.steps(_BatchNorm) if layer.site.layer not in lost]
            yield Intervention(
                probe=recalibrated(scene.find, lost).on_items(scene.confirm),
                change=f"the running statistics of {', '.join(lost[:3])} measured anew on {scene.find.items} items",
                control=recalibrated(scene.find, sound).on_items(scene.confirm) if sound else None,
                sham=f"measuring those of {', '.join(sound[:3])} anew" if sound else "",
                uncontrolled="" if sound else "no other BatchNorm could serve as a sham",
            )
            return
        dtype = _computed_in(scene.probe) or torch.float16
        wide = torch.float32 if scene.probe.device.type == "mps" else torch.float64
        yield Intervention(
            probe=computed_in(scene.confirm, wide),
            change=f"the same computed in {str(wide).removeprefix('torch.')}",
            control=scene.confirm.with_tensors(_nudged(scene.module, torch.finfo(dtype).eps)),
            sham=f"changing each weight by one rounding of {str(dtype).removeprefix('torch.')}",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Compute, or store, in float32 or bfloat16."""
        stored = Remedy(
            id="store-float32",
            title="Store checkpoints in float32 (weights and running statistics), or in bfloat16, which has its range",
            snippet=(
                "state = {k: v.float() if v.is_floating_point() else v\n"
                "         for k, v in model.state_dict().items()}\n"
                "torch.save(state, 'model.pt')"
            ),
            effect="what has become 0 or infinite must come from an earlier checkpoint",
        )
        if suspicion.numbers["stored"]:
            return (stored,)
        return (
            Remedy(
                id="float32-here",
                title=f"Run {suspicion.layer or 'the model'} in float32",
                snippet=(
                    "with torch.no_grad(), torch.autocast('cpu', enabled=False):\n"
                    "    embeddings = model.float()(next(iter(loader))[0].float())"
                ),
                effect="scan again with --precision fp32; costs up to twice the time and memory",
            ),
            Remedy(
                id="bfloat16",
                title="Or use bfloat16, which does not overflow, if two digits are enough",
                snippet=(
                    "with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):\n"
                    "    embeddings = model(next(iter(loader))[0])"
                ),
                reference="Kalamkar et al. 2019, arXiv:1905.12322",
            ),
            stored,
        )


def computed_in(probe: Probe, dtype: torch.dtype) -> Probe:
    """The probe with all weights, inputs and casts in a wider type. Autocast leaves float64 as it is."""
    module = copy.deepcopy(probe.module).to(dtype)

    def widened(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.to(dtype)
        if isinstance(value, dict):
            return {key: widened(one) for key, one in value.items()}
        return dtype if isinstance(value, torch.dtype) and value in _NARROW else value

    def rule(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if getattr(function, "__name__", "") in ("half", "bfloat16", "float"):
            return args[0].to(dtype)
        cast = any(isinstance(one, torch.dtype) for one in (*args, *kwargs.values()))
        if cast:
            args, kwargs = tuple(map(widened, args)), {key: widened(one) for key, one in kwargs.items()}
        return function(*args, **kwargs)

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return tuple(map(widened, args)), {key: widened(one) for key, one in kwargs.items()}

    module.register_forward_pre_hook(enter, with_kwargs=True)
    rewrite(module, rule)
    return replace(probe.on(module), precision="fp32" if dtype is torch.float32 else probe.precision)


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes whether a result is in half precision."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: torch.dtype | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, Tensor) and one.dtype in _HALVES:
                self.found = one.dtype
        return result


def _computed_in(probe: Probe) -> torch.dtype | None:
    """Half precision that the model computes in, in whatever part; None if it does not."""
    if probe.precision in AUTOCAST:
        return AUTOCAST[probe.precision]
    forward, seen = Forward(probe.readout, probe.device, probe.precision), _Seen()
    with probe.readout.attached(), seen:
        forward(probe.batches[0].part(slice(0, _ITEMS)).inputs)
    return seen.found


def _overflowed(scene: Scene) -> list[str]:
    """BatchNorms whose running statistics are infinite, in a model all of whose numbers came from float16."""
    names = [
        layer.site.layer
        for layer, module in scene.steps(_BatchNorm)
        if any(one is not None and bool(one.isinf().any()) for one in map(module._buffers.get, _RUNNING))
    ]
    tensors = [one for one in scene.module.state_dict().values() if isinstance(one, Tensor) and one.is_floating_point()]
    return names if names and all(bool((one.half().to(one.dtype) == one).all()) for one in tensors) else []


def _nudged(module: nn.Module, step: float) -> dict[str, Tensor]:
    """Each weight one rounding up or down, at random."""
    generator = torch.Generator().manual_seed(0)

    def moved(tensor: Tensor) -> Tensor:
        signs = torch.randint(0, 2, tensor.shape, generator=generator).to(tensor.device) * 2 - 1
        return (tensor.detach() * (1 + step * signs)).to(tensor.dtype)

    return {name: moved(one) for name, one in module.named_parameters() if one.is_floating_point()}
