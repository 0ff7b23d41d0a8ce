"""Which optimiser left these settings: its class is not saved, but its settings have names of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Settings that only this kind has, the more telling ones first. Names are those of torch.optim, of apex, timm and
# transformers, and of the papers' own code.
_TELLING = (
    ("Muon", ("ns_steps",)),
    ("LBFGS", ("history_size",)),
    ("Adafactor", ("beta2_decay",)),
    ("Adafactor (transformers)", ("scale_parameter", "relative_step")),
    ("NAdam", ("momentum_decay",)),
    ("Rprop", ("etas",)),
    ("Adadelta", ("rho",)),
    ("Adagrad", ("initial_accumulator_value",)),
    ("RMSprop", ("alpha", "centered")),
    ("ASGD", ("lambd", "alpha")),
    ("Prodigy or D-Adaptation", ("d_coef",)),
    ("LAMB", ("betas", "max_grad_norm")),
    ("LAMB", ("betas", "trust_clip")),
    ("LARS", ("trust_coefficient",)),
    ("LARS", ("trust_coeff",)),
    ("LARS", ("eta", "momentum")),
    ("Adam, fused (apex)", ("betas", "bias_correction")),
)
# What torch.optim.Adam saved at any time; others with betas lack some or have more.
_ADAM = {"lr", "betas", "eps", "weight_decay", "amsgrad"}

# Those whose step follows the size of the gradient, or an estimate of its own.
_BY_GRADIENT = ("SGD", "LARS", "ASGD", "LBFGS", "Adadelta", "Adafactor", "Prodigy", "Muon", "Adagrad")


def steps_by_rate(kind: str) -> bool:
    """Whether a kind moves every weight by about its rate in each step, however small the gradient is, as Adam does."""
    return not kind.startswith(_BY_GRADIENT)


def kind_of(path: str, settings: Mapping[Any, Any], kept: Sequence[str]) -> str | None:
    """Name the kind of an optimiser, None if its settings are like none that is known.

    Parameters
    ----------
    path
        Dotted path of its class, "" where it is not known.
    settings
        One of its groups.
    kept
        Names in one entry of its state.
    """
    if path:
        return path.rpartition(".")[2]
    names = {name for name in settings if isinstance(name, str)}
    for kind, telling in _TELLING:
        if names.issuperset(telling):
            return kind
    if "betas" in names:
        return _with_betas(names, settings, kept)
    if {"momentum", "dampening", "nesterov"} <= names:
        return "SGD"
    return None


def _with_betas(names: set[str], settings: Mapping[Any, Any], kept: Sequence[str]) -> str:
    if "exp_inf" in kept:
        return "Adamax"
    if names >= _ADAM:
        decoupled = settings.get("decoupled_weight_decay")
        if isinstance(decoupled, bool):
            return "AdamW" if decoupled else "Adam"
        return "Adam or AdamW"
    if "eps" not in names:
        return "Lion"
    if "weight_decay" not in names:
        return "SparseAdam"
    if "decoupled_weight_decay" in names:
        return "RAdam"
    return "Adamax, RAdam or another of the kind of Adam"
