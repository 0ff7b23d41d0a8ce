from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import get_model_weights

from collapsecheck.datasets import TransformOptions, choose_preprocessing, open_items
from collapsecheck.datasets.transform import Preprocessing
from collapsecheck.errors import UsageError

from .conftest import Paint, model_input


def chosen(path: Path, options: TransformOptions | None = None, **model: Any) -> tuple[Preprocessing, Any]:
    items = open_items(path)
    preprocessing = choose_preprocessing(items, model_input(**model), options or TransformOptions())
    return preprocessing, preprocessing.item(items.read(0))


def saved(tmp_path: Path, array: np.ndarray[Any, Any]) -> Path:
    np.save(tmp_path / "x.npy", array)
    return tmp_path / "x.npy"


# ---- images


def test_other_models_get_pixels_at_native_size(tmp_path: Path, paint: Paint) -> None:
    path = paint("a.png")
    preprocessing, tensor = chosen(tmp_path)
    assert preprocessing.description == "RGB images, at native size, pixels in 0..1"
    assert not preprocessing.given
    expected = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1).float() / 255
    assert torch.equal(tensor, expected) and tensor.is_contiguous()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
@pytest.mark.parametrize(("channels", "depth"), [(1, 1), (3, 3)])
def test_channels_follow_the_model(tmp_path: Path, paint: Paint, mode: str, channels: int, depth: int) -> None:
    paint("a.png", mode=mode)
    preprocessing, tensor = chosen(tmp_path, channels=channels)
    assert tensor.shape == (depth, 6, 8) and tensor.dtype == torch.float32
    assert tensor.min() >= 0 and tensor.max() <= 1
    assert ("grey" in preprocessing.description) == (channels == 1)


def test_sixteen_bit_images_fit_both_stems(tmp_path: Path) -> None:
    values = np.array([[0, 300], [4095, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    for channels in (1, 3):
        tensor = chosen(tmp_path, channels=channels)[1]
        assert tensor.shape == (channels, 2, 2)
        np.testing.assert_allclose(tensor[-1], values / 65535, rtol=1e-6)
    resized = chosen(tmp_path, TransformOptions(size=5, mean=(0.1, 0.2, 0.3)), channels=3)[1]
    assert resized.shape == (3, 5, 5)


def test_without_a_stem_grey_needs_all_images_to_be_grey(tmp_path: Path, paint: Paint) -> None:
    paint("a.png", mode="L")
    paint("b.png", mode="LA")
    assert chosen(tmp_path)[1].shape == (1, 6, 8)
    paint("c.png", mode="RGB")
    assert chosen(tmp_path)[1].shape == (3, 6, 8)


@pytest.mark.parametrize("arch", ["resnet18", "inception_v3", "efficientnet_b1", "vit_b_16"])
def test_architectures_get_what_torchvision_publishes(tmp_path: Path, paint: Paint, arch: str) -> None:
    path = paint("a.png", size=(50, 40))
    preprocessing, tensor = chosen(tmp_path, arch_name=arch, channels=3)
    published = get_model_weights(arch).DEFAULT.transforms()
    torch.testing.assert_close(tensor, published(Image.open(path)))
    assert "as torchvision publishes it" in preprocessing.description and not preprocessing.given


def test_the_description_says_all_of_it(tmp_path: Path, paint: Paint) -> None:
    paint("a.png")
    assert chosen(tmp_path, arch_name="resnet18", channels=3)[0].description == (
        "RGB images, shorter side resized to 256, centre crop 224×224, pixels in 0..1, minus mean "
        "(0.485, 0.456, 0.406), divided by std (0.229, 0.224, 0.225), as torchvision publishes it with "
        "the weights"
    )
    options = TransformOptions(size=(4, 5), mean=(0.5,), std=(0.25,), input_scale=255)
    preprocessing, tensor = chosen(tmp_path, options, channels=1)
    assert preprocessing.description == (
        "grey images, resized to 4×5 (height×width), pixels in 0..1, times 255, minus mean 0.5, divided by std 0.25"
    )
    assert preprocessing.given and tensor.shape == (1, 4, 5)


def test_options_replace_parts_of_what_is_published(tmp_path: Path, paint: Paint) -> None:
    paint("a.png", size=(50, 40))
    preprocessing, tensor = chosen(tmp_path, TransformOptions(size=32), arch_name="resnet18", channels=3)
    assert tensor.shape == (3, 32, 32)
    assert (preprocessing.resize, preprocessing.crop) == (32, 32)
    assert preprocessing.mean == (0.485, 0.456, 0.406) and preprocessing.given
    assert preprocessing.description.endswith("but for the given options")
    preprocessing, _ = chosen(tmp_path, TransformOptions(mean=(0.5,)), arch_name="resnet18", channels=3)
    assert preprocessing.mean == (0.5,) and preprocessing.std == (0.229, 0.224, 0.225)


def test_a_grey_variant_of_an_architecture_gets_the_mean_of_the_channels(tmp_path: Path, paint: Paint) -> None:
    paint("a.png")
    preprocessing, tensor = chosen(tmp_path, arch_name="resnet18", channels=1)
    assert preprocessing.mean == (0.449,) and tensor.shape == (1, 224, 224)


@pytest.mark.parametrize("arch", ["fasterrcnn_resnet50_fpn", "r3d_18"])
def test_what_is_published_for_other_tasks_is_left_aside(tmp_path: Path, paint: Paint, arch: str) -> None:
    paint("a.png")
    assert chosen(tmp_path, arch_name=arch, channels=3)[0].description.endswith("at native size, pixels in 0..1")


def test_segmentation_models_have_no_crop(tmp_path: Path, paint: Paint) -> None:
    paint("a.png")
    assert chosen(tmp_path, arch_name="fcn_resnet50", channels=3)[1].shape == (3, 520, 693)


def test_the_order_is_scale_then_mean_then_std(tmp_path: Path) -> None:
    Image.new("L", (2, 2), 51).save(tmp_path / "a.png")
    tensor = chosen(tmp_path, TransformOptions(input_scale=10, mean=(1.0,), std=(0.5,)))[1]
    torch.testing.assert_close(tensor, torch.full((1, 2, 2), (0.2 * 10 - 1) / 0.5))


def test_a_transform_gets_the_image_in_the_model_s_mode(tmp_path: Path, paint: Paint) -> None:
    paint("a.png", mode="RGBA")

    def brightness(picture: Image.Image) -> torch.Tensor:
        assert picture.mode == "RGB"
        return torch.tensor([float(np.asarray(picture).mean())], dtype=torch.float64)

    preprocessing, tensor = chosen(tmp_path, TransformOptions(transform=brightness))
    assert preprocessing.description == "RGB images through the transform brightness" and preprocessing.given
    assert tensor.dtype == torch.float32 and tensor.shape == (1,)


@pytest.mark.parametrize(
    ("options", "model", "message"),
    [
        (TransformOptions(size=0), {}, "--size"),
        (TransformOptions(size=(4, 0)), {}, "--size"),
        (TransformOptions(mean=()), {}, "--mean"),
        (TransformOptions(mean=(float("nan"),)), {}, "--mean"),
        (TransformOptions(std=(0.0,)), {}, "--std must be above 0"),
        (TransformOptions(input_scale=0.0), {}, "--input-scale"),
        (TransformOptions(mean=(0.1, 0.2)), {}, "--mean has 2 values, the images have 3"),
        (TransformOptions(std=(0.1, 0.2, 0.3)), {"channels": 1}, "--std has 3 values, the images have 1"),
        (TransformOptions(size=3, transform=lambda x: x), {}, "leave out --size"),
        (TransformOptions(), {"channels": 5}, "takes 5 channels"),
        (TransformOptions(), {"arch_name": "resnet19"}, "no architecture called 'resnet19'"),
    ],
)
def test_options_that_cannot_be(
    tmp_path: Path, paint: Paint, options: TransformOptions, model: dict[str, Any], message: str
) -> None:
    paint("a.png")
    with pytest.raises(UsageError, match=message):
        chosen(tmp_path, options, **model)


# ---- arrays


def test_bytes_with_two_dimensions_are_pixels(tmp_path: Path) -> None:
    values = np.arange(48, dtype=np.uint8).reshape(2, 4, 6)
    preprocessing, tensor = chosen(saved(tmp_path, values), channels=1)
    assert preprocessing.description == "bytes as pixels, a channel dimension added, at native size, pixels in 0..1"
    torch.testing.assert_close(tensor, torch.from_numpy(values[0])[None].float() / 255)


def test_arrays_of_images_and_images_come_out_alike(tmp_path: Path, paint: Paint) -> None:
    path = paint("data/a.png", size=(50, 40))
    array = saved(tmp_path, np.array(Image.open(path))[None])
    for options in (TransformOptions(), TransformOptions(size=(20, 30)), TransformOptions(size=24)):
        for arch in (None, "resnet18"):
            from_image = chosen(path.parent, options, arch_name=arch, channels=3)[1]
            from_array = chosen(array, options, arch_name=arch, channels=3)[1]
            assert from_image.shape == from_array.shape
            assert (from_image - from_array).abs().max() < 0.03  # two implementations of resizing round differently


def test_floats_are_taken_as_prepared(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    preprocessing, tensor = chosen(saved(tmp_path, values), arch_name="resnet18", channels=3)
    assert preprocessing.description == "values as they are in the array" and preprocessing.mean is None
    assert torch.equal(tensor, torch.tensor(values[0], dtype=torch.float32))
    options = TransformOptions(mean=(1.0, 2.0, 3.0), std=(2.0,), input_scale=2.0)
    preprocessing, tensor = chosen(saved(tmp_path, values), options, channels=3)
    shift = np.array([1.0, 2.0, 3.0])[:, None, None]
    np.testing.assert_allclose(tensor, (values[0] * 2 - shift) / 2, rtol=1e-5, atol=1e-6)
    assert preprocessing.given


def test_float_images_can_be_resized(tmp_path: Path) -> None:
    preprocessing, tensor = chosen(saved(tmp_path, np.ones((2, 8, 8, 3))), TransformOptions(size=4), channels=3)
    assert tensor.shape == (3, 4, 4)
    assert preprocessing.description == (
        "values as they are in the array, channels moved to the front, shorter side resized to 4, centre crop 4×4"
    )


def test_integers_are_token_ids_for_a_model_that_looks_them_up(tmp_path: Path) -> None:
    for dtype in (np.int32, np.uint8, np.uint16):
        preprocessing, tensor = chosen(saved(tmp_path, np.ones((2, 7), dtype)), token_ids=True)
        assert tensor.dtype == torch.int64 and tensor.shape == (7,)
        assert preprocessing.description == "integers as token ids"
    with pytest.raises(UsageError, match="token ids"):
        chosen(saved(tmp_path, np.ones((2, 7), np.int32)), TransformOptions(mean=(1.0,)), token_ids=True)


@pytest.mark.parametrize("dtype", ["i4", "i8", "f8", "f2", "?", "u1"])
def test_other_vectors_become_float32_unchanged(tmp_path: Path, dtype: str) -> None:
    _, tensor = chosen(saved(tmp_path, np.ones((2, 7)).astype(dtype)))
    assert tensor.dtype == torch.float32 and tensor.tolist() == [1.0] * 7


def test_mean_and_std_for_each_feature(tmp_path: Path) -> None:
    _, tensor = chosen(saved(tmp_path, np.ones((2, 3))), TransformOptions(mean=(0.0, 1.0, 2.0)))
    assert tensor.tolist() == [1.0, 0.0, -1.0]


def test_nan_and_inf_are_passed_on(tmp_path: Path) -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 1.0]])
    _, tensor = chosen(saved(tmp_path, values), TransformOptions(mean=(1.0,), std=(2.0,)))
    np.testing.assert_array_equal(tensor, [np.nan, np.inf, -np.inf, 0.0])


def test_array_options_that_cannot_be(tmp_path: Path) -> None:
    path = saved(tmp_path, np.ones((2, 5)))
    with pytest.raises(UsageError, match=r"have 3 values, an item has the shape \[5\]"):
        chosen(path, TransformOptions(std=(1.0, 2.0, 3.0)))
    with pytest.raises(UsageError, match="--size applies to images"):
        chosen(path, TransformOptions(size=3))


def test_a_transform_gets_the_raw_row(tmp_path: Path) -> None:
    path = saved(tmp_path, np.ones((2, 4, 4), np.uint8))
    preprocessing, tensor = chosen(path, TransformOptions(transform=lambda row: row.sum().float()[None]))
    assert tensor.tolist() == [16.0]
    assert preprocessing.description == "rows of an array through the transform <lambda>"
    assert preprocessing.rows(torch.ones(3, 4, 4)).shape == (3, 1)
