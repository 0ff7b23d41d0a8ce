"""Settings: flags beat environment variables, which beat `[tool.collapsecheck]` in pyproject.toml."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from collapsecheck.errors import UsageError, did_you_mean

FAIL_ON = ("collapsed", "degraded", "never")
PRECISIONS = ("fp32", "bf16", "fp16")
GRADCHECKS = ("custom", "layers", "never")
AUTO = "auto"  # what a whole number that may be None is called on the command line and in files
ENVIRONMENT_PREFIX = "COLLAPSECHECK_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set once for a project. In pyproject.toml the names have hyphens.

    Attributes
    ----------
    fail_on : the status from which the gate fails.
    require : requirements such as "effective_rank>=32".
    max_unreadable : share of items that may be unreadable, in [0, 1].
    select, ignore : ids of checks and causes.
    thresholds : per check id, thresholds by name.
    seed : of every sample drawn.
    max_samples, batch_size, workers : None means automatic (all samples).
    device : "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : of the model's pass.
    diagnose : whether causes are looked for when something is wrong.
    gradcheck : whose gradients are compared with finite differences: "custom" operations, all "layers", or "never".
    trial : seconds that may be spent on training fresh copies, to prove causes that only training can; 0 for none.
    """

    fail_on: str = "collapsed"
    require: tuple[str, ...] = ()
    max_unreadable: float = 0.01
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    seed: int = 0
    max_samples: int | None = None
    batch_size: int | None = None
    workers: int | None = None
    device: str = "auto"
    precision: str = "fp32"
    diagnose: bool = True
    gradcheck: str = "custom"
    trial: float = 0.0

    def __post_init__(self) -> None:
        _one_of("fail-on", self.fail_on, FAIL_ON)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("gradcheck", self.gradcheck, GRADCHECKS)
        if not 0 <= self.max_unreadable <= 1:
            raise UsageError(f"max-unreadable must be a share between 0 and 1, not {self.max_unreadable}")
        for name in ("max_samples", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name.replace('_', '-')} must be at least 1, not {value}")
        if self.workers is not None and self.workers < 0:
            raise UsageError(f"workers must be 0 or more, not {self.workers}")
        if not 0 <= self.trial < math.inf:
            raise UsageError(f"trial must be a number of seconds, 0 or more, not {self.trial}")
        if self.seed < 0:
            raise UsageError(f"seed must be 0 or more, not {self.seed}")
        for check, limits in self.thresholds.items():
            for name, number in limits.items():
                if math.isnan(number):
                    raise UsageError(f"the threshold {check}.{name} must be a number, not nan")


NAMES = {item.name: item for item in fields(Settings)}


def load_settings(flags: Mapping[str, Any], *, folder: Path | None = None) -> Settings:
    """Combine pyproject.toml (of `folder` or the nearest parent that has one), environment and flags.

    Flags that are None or empty were not given. Thresholds from the three sources are merged.
    """
    given = {name: value for name, value in flags.items() if value not in (None, (), {}, [])}
    merged: dict[str, Any] = {}
    for source in (_from_pyproject(folder or Path.cwd()), _from_environment(os.environ), given):
        thresholds = _merged(merged.get("thresholds", {}), source.get("thresholds", {}))
        merged = {**merged, **source, "thresholds": thresholds}
    merged = {name: None if value == AUTO and _automatic(name) else value for name, value in merged.items()}
    try:
        return replace(Settings(), **merged)
    except TypeError as error:
        raise UsageError(f"a setting has the wrong type: {error}") from error


def parse_threshold(text: str) -> dict[str, dict[str, float]]:
    """`mean-cosine.warning=0.97` -> {"mean-cosine": {"warning": 0.97}}."""
    path, equals, number = text.partition("=")
    check, dot, name = path.strip().partition(".")
    try:
        if not equals or not dot:
            raise ValueError
        return {check: {name: float(number)}}
    except ValueError:
        raise UsageError(f"expected CHECK.THRESHOLD=NUMBER, such as mean-cosine.warning=0.97, not {text!r}") from None


def parse_thresholds(texts: list[str]) -> dict[str, dict[str, float]]:
    """Several of them; later ones win."""
    merged: dict[str, dict[str, float]] = {}
    for text in texts:
        merged = _merged(merged, parse_threshold(text))
    return merged


def _merged(
    first: Mapping[str, Mapping[str, float]], second: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    return {check: {**first.get(check, {}), **second.get(check, {})} for check in {**first, **second}}


def _from_pyproject(folder: Path) -> dict[str, Any]:
    for parent in (folder, *folder.parents):
        file = parent / "pyproject.toml"
        if file.is_file():
            try:
                content = tomllib.loads(file.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
                raise UsageError(f"{file}: not readable as TOML: {error}") from error
            tool = content.get("tool", {})
            table = tool.get("collapsecheck", {}) if isinstance(tool, dict) else {}
            if not isinstance(table, dict):
                raise UsageError(f"{file}: [tool.collapsecheck] must be a table, not {table!r}")
            return {_name(key, str(file)): _typed(key, value, str(file)) for key, value in table.items()}
    return {}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for variable, text in environment.items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace("_", "-")
            name = _name(key, f"environment variable {variable}")
            found[name] = _parsed(key, text, variable)
    return found


def _automatic(name: str) -> bool:
    return str(NAMES[name].type) == "int | None"


def _name(key: str, source: str) -> str:
    name = key.replace("-", "_")
    if name not in NAMES:
        known = [item.replace("_", "-") for item in NAMES]
        raise UsageError(f"{source}: unknown setting {key!r}{did_you_mean(key, known)}")
    return name


def _typed(key: str, value: Any, source: str) -> Any:
    """Check the type of a value from pyproject.toml against that of the default."""
    name = key.replace("-", "_")
    kind = str(NAMES[name].type)
    if kind.startswith("tuple"):
        value = [value] if isinstance(value, str) else value
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        value = tuple(value) if fits else value
    elif kind.startswith("Mapping"):
        fits = isinstance(value, dict) and all(
            isinstance(table, dict) and all(_is_number(number) for number in table.values()) for table in value.values()
        )
    elif kind == "float":
        fits = _is_number(value)
    elif kind.startswith("int"):
        fits = (isinstance(value, int) and not isinstance(value, bool)) or (value == AUTO and _automatic(name))
    else:
        fits = isinstance(value, str)
    if not fits:
        raise UsageError(f"{source}: {key} has a value of the wrong type: {value!r}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parsed(key: str, text: str, source: str) -> Any:
    name = key.replace("-", "_")
    kind = str(NAMES[name].type)
    try:
        if kind.startswith("tuple"):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if kind.startswith("Mapping"):
            return parse_thresholds([part.strip() for part in text.split(",") if part.strip()])
        if kind == "float":
            return float(text)
        return int(text) if kind.startswith("int") and not (text == AUTO and _automatic(name)) else text
    except ValueError:
        raise UsageError(f"{source}: expected a number for {key}, not {text!r}") from None


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"unknown value {value!r} for {name}{did_you_mean(str(value), known)}")
