"""The preprocessing that is published with the weights of a model."""

from __future__ import annotations

from dataclasses import dataclass

from torchvision.models import get_model_weights
from torchvision.transforms import InterpolationMode

from collapsecheck.errors import UsageError

# The presets of detection and optical flow do no more than bring pixels to 0..1, those of video take clips.
_FOR_IMAGES = frozenset({"ImageClassification", "SemanticSegmentation"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Resizing, centre crop (None: no crop), mean and std for pixels in 0..1.

    `resize` is one number for the shorter side, or height and width. `source` ends the sentence that reports say.
    """

    resize: int | tuple[int, int]
    crop: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: InterpolationMode
    source: str = "as torchvision publishes it with the weights"


def published_preprocessing(arch_name: str | None) -> Published | None:
    """Return what torchvision publishes with the default weights, or None if that is not for images."""
    if arch_name is None:
        return None
    try:
        preset = get_model_weights(arch_name).DEFAULT.transforms()
    except ValueError as error:
        raise UsageError(f"torchvision has no architecture called {arch_name!r}") from error
    if type(preset).__name__ not in _FOR_IMAGES:
        return None
    crop = getattr(preset, "crop_size", None)
    return Published(
        resize=preset.resize_size[0],
        crop=crop[0] if crop else None,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation,
    )
