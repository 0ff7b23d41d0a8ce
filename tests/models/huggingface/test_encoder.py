from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from collapsecheck.errors import NotLoadableError
from collapsecheck.models import choose_readout, expected_input, load_model

from .conftest import SMALL, change, made, transformers

Save = Callable[..., Path]

TEXTS: dict[str, dict[str, Any]] = {
    "bert": SMALL,
    "roberta": SMALL,
    "albert": {**SMALL, "embedding_size": 16},
    "distilbert": {"vocab_size": 160, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 40},
    "t5": {"vocab_size": 160, "d_model": 32, "d_kv": 16, "d_ff": 40, "num_layers": 2, "num_heads": 2},
    "gpt2": {"vocab_size": 160, "n_embd": 32, "n_layer": 2, "n_head": 2},
    "llama": SMALL,
}
VISION = {**SMALL, "image_size": 32, "patch_size": 8}


def ids() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.ones(3, 9, dtype=torch.int64)
    mask[1, 5:] = mask[2, 2:] = 0
    return {"input_ids": torch.randint(5, 100, (3, 9)), "attention_mask": mask}


def rows(loaded: Any, batch: Any, pool: Any = "mean") -> tuple[torch.Tensor, str]:
    readout = choose_readout(loaded, pool=pool)
    with torch.inference_mode(), readout.attached():
        found: torch.Tensor = readout(batch)
    return found, readout.reduction


def hidden(model: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(**ids()).last_hidden_state
    return found


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_are_averaged_without_padding(save: Save, kind: str) -> None:
    model: Any = made(kind, **TEXTS[kind])
    loaded = load_model(save(model, tokens=False))
    assert loaded.architecture.name == f"transformers {kind}" and loaded.architecture.trust == "known-classes"
    assert loaded.missing_keys == loaded.unexpected_keys == loaded.mismatched_keys == ()
    of_all = hidden(model.get_encoder() if model.config.is_encoder_decoder else model)
    expected = torch.stack([of_all[i, ids()["attention_mask"][i] > 0].mean(0) for i in range(3)])
    found, reduction = rows(loaded, ids())
    assert torch.allclose(found, expected, atol=1e-6)
    assert reduction == "field 'last_hidden_state', mean over the tokens of each item, without padding"
    assert torch.equal(rows(loaded, ids(), pool="cls")[0], of_all[:, 0])


def test_weights_of_a_model_with_a_head(save: Save) -> None:
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM(transformers.BertConfig(**SMALL)).eval()
    loaded = load_model(save(model))
    assert loaded.missing_keys == loaded.unexpected_keys == ()
    assert torch.equal(loaded.module(**ids()).last_hidden_state, hidden(model.bert))
    assert not any(name.startswith("pooler") for name, _ in loaded.module.named_modules())  # it had no weights


def test_weights_as_a_pickle_and_in_half_precision(save: Save) -> None:
    model = made("bert", **SMALL)
    folder = save(model)
    (folder / "model.safetensors").unlink()
    torch.save({name: value.half() for name, value in model.state_dict().items()}, folder / "pytorch_model.bin")
    loaded = load_model(folder)
    assert {value.dtype for value in loaded.module.parameters()} == {torch.float32}
    assert torch.allclose(rows(loaded, ids())[0], rows(load_model(save(model)), ids())[0], atol=0.02)


@pytest.mark.parametrize("kind", ["vit", "convnext", "dinov2"])
def test_images(save: Save, kind: str) -> None:
    options = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]} if kind == "convnext" else VISION
    model = made(kind, **options)
    loaded = load_model(save(model, tokens=False))
    takes = expected_input(loaded)
    assert takes.channels == 3 and takes.tokenizer is None
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = model(pixels).pooler_output
    assert torch.equal(rows(loaded, pixels)[0], expected)


def test_images_are_prepared_as_the_directory_says(save: Save) -> None:
    import json

    folder = save(made("vit", **VISION), tokens=False)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": 32, "width": 32}, "resample": 3}
        )
    )
    published = expected_input(load_model(folder)).published
    assert published is not None
    assert (published.resize, published.crop, published.mean, published.std) == (
        (32, 32),
        None,
        (0.5,) * 3,
        (0.25,) * 3,
    )
    assert published.source == "as its preprocessor_config.json says"


def test_a_model_of_images_and_texts_runs_the_side_of_the_data(save: Save) -> None:
    model: Any = made("clip", text_config=SMALL, vision_config=VISION, projection_dim=24)
    loaded = load_model(save(model))
    takes = expected_input(loaded)
    assert takes.channels == 3 and takes.tokenizer is not None
    pixels = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        of_images, of_texts = model.get_image_features(pixel_values=pixels), model.get_text_features(**ids())
    assert torch.equal(rows(loaded, pixels)[0], getattr(of_images, "pooler_output", of_images))
    assert torch.equal(rows(loaded, ids())[0], getattr(of_texts, "pooler_output", of_texts))


def refusal(folder: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        load_model(folder)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_weights_that_are_missing_are_an_error(save: Save) -> None:
    model = made("bert", **SMALL)
    folder = save(model)
    (folder / "model.safetensors").unlink()
    held = dict(model.state_dict())
    del held["encoder.layer.1.output.dense.weight"]
    held["encoder.layer.0.output.dense.bias"] = torch.zeros(5)
    held["nonsense"] = torch.zeros(2)
    torch.save(held, folder / "pytorch_model.bin")
    said = refusal(folder)
    assert "1 missing, 1 unexpected and 1 wrongly shaped keys" in said and "--allow-partial" in said
    loaded = load_model(folder, allow_partial=True)
    assert loaded.missing_keys == ("encoder.layer.1.output.dense.weight",)
    assert loaded.mismatched_keys == ("encoder.layer.0.output.dense.bias",)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"num_hidden_layers": 10**9}, "more than any model has"),
        ({"vocab_size": 2**31}, "more than any model has"),
        ({"vocab_size": 2**23}, "they do not belong together"),
        ({"model_type": "nonesuch", "auto_map": {"AutoModel": "code.Model"}}, "which collapsecheck never runs"),
        ({"model_type": ["a"]}, "does not have"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised"),
        ({"num_attention_heads": 7}, "transformers"),
        ({"hidden_act": "\x1b[31m"}, "transformers"),
    ],
)
def test_a_hostile_or_damaged_configuration_is_refused(bert: Path, entries: dict[str, Any], message: str) -> None:
    assert message in refusal(change(bert, **entries))


def test_code_beside_the_weights_never_runs(bert: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (bert / "code.py").write_text(f"open({str(marker)!r}, 'w')\nclass Model: pass\nclass Config: pass\n")
    change(bert, auto_map={"AutoModel": "code.Model", "AutoConfig": "code.Config", "AutoTokenizer": "code.Tokens"})
    change(bert, attn_implementation="someone/kernel", _attn_implementation="someone/kernel")
    loaded = load_model(bert)
    takes = expected_input(loaded)
    assert takes.tokenizer is not None and takes.tokenizer().length("ba be bi") == 5
    assert not marker.exists() and type(loaded.module).__name__ == "BertModel"


def test_outputs_that_the_configuration_asks_for_do_not_matter(bert: Path) -> None:
    before = rows(load_model(bert), ids())[0]
    change(bert, output_hidden_states=True, output_attentions=True, return_dict=False, torchscript=True)
    assert torch.equal(rows(load_model(bert), ids())[0], before)
