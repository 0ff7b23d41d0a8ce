from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from collapsecheck.errors import NotLoadableError
from collapsecheck.models import choose_readout, expected_input, load_model
from collapsecheck.models.huggingface.pooling import MODES, Pooling

from .conftest import SMALL, made, text

DENSE = {"in_features": 32, "out_features": 16, "bias": True}


@pytest.fixture
def chain(bert: Path) -> Callable[..., Path]:
    """A directory of sentence-transformers as older and newer releases write it."""

    def inner(pooling: dict[str, Any], dense: dict[str, Any] | None = None, **beside: Any) -> Path:
        kinds = ["Transformer", "Pooling", "Dense", "Normalize"]
        folders = ["", "1_Pooling", "2_Dense", "3_Normalize"]
        entries = [
            {"idx": i, "name": str(i), "path": folder, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, folder) in enumerate(zip(kinds, folders, strict=True))
        ]
        (bert / "modules.json").write_text(json.dumps(entries))
        for folder, config in (("1_Pooling", pooling), ("2_Dense", dense or DENSE)):
            (bert / folder).mkdir()
            (bert / folder / "config.json").write_text(json.dumps(config))
        torch.manual_seed(5)
        save_file(
            {"linear.weight": torch.randn(16, 32), "linear.bias": torch.randn(16)}, bert / "2_Dense/model.safetensors"
        )
        for name, content in beside.items():
            (bert / f"{name}.json").write_text(json.dumps(content))
        return bert

    return inner


def encoded(folder: Path, texts: list[str]) -> torch.Tensor:
    loaded = load_model(folder)
    tokenizer = expected_input(loaded).tokenizer
    assert tokenizer is not None
    readout = choose_readout(loaded)
    with torch.inference_mode(), readout.attached():
        return readout(tokenizer()(texts, 30))


@pytest.mark.parametrize("pooling", [{"pooling_mode_mean_tokens": True}, {"pooling_mode": "mean"}])
def test_transformer_pooling_dense_and_unit_length(chain: Callable[..., Path], pooling: dict[str, Any]) -> None:
    folder = chain(pooling)
    texts = [text(i) for i in range(6)]
    found = encoded(folder, texts)
    loaded = load_model(folder)
    assert loaded.architecture.name == "sentence-transformers bert"
    tokens = expected_input(loaded).tokenizer().__call__(texts, 30)  # type: ignore[misc]
    torch.manual_seed(5)
    weight, bias = torch.randn(16, 32), torch.randn(16)
    with torch.inference_mode():
        hidden = made("bert", **SMALL)(**tokens).last_hidden_state
    mean = torch.stack([row[mask > 0].mean(0) for row, mask in zip(hidden, tokens["attention_mask"], strict=True)])
    expected = nn.functional.normalize(torch.tanh(mean @ weight.T + bias))
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_same_as_the_library_itself(chain: Callable[..., Path]) -> None:
    library = pytest.importorskip("sentence_transformers")
    folder = chain({"pooling_mode_mean_tokens": True, "word_embedding_dimension": 32}, sentence_bert_config={})
    texts = [text(i) for i in range(20)]
    theirs = torch.tensor(library.SentenceTransformer(str(folder), device="cpu").encode(texts))
    assert torch.allclose(encoded(folder, texts), theirs, atol=1e-5)


def test_length_case_and_prompt_are_those_of_the_directory(chain: Callable[..., Path]) -> None:
    folder = chain(
        {"pooling_mode_cls_token": True},
        sentence_bert_config={"max_seq_length": 12, "do_lower_case": True},
        config_sentence_transformers={"prompts": {"query": "ba be "}, "default_prompt_name": "query"},
    )
    tokenizer = expected_input(load_model(folder)).tokenizer
    assert tokenizer is not None
    found: Any = tokenizer()
    assert (found.longest, found.prompt, found.lower) == (12, "ba be ", True)
    assert found.length("BI") == 5


@pytest.mark.parametrize(
    ("pooling", "dense", "message"),
    [
        ({"pooling_mode": "magic"}, DENSE, "pools in a way"),
        ({"pooling_mode": "mean"}, {**DENSE, "activation_function": "os.system"}, "activation system"),
        ({"pooling_mode": "mean"}, {**DENSE, "out_features": 10**12}, "out_features"),
        ({"pooling_mode": "mean"}, {**DENSE, "out_features": 8}, "do not fit it"),
    ],
)
def test_what_is_not_known_is_refused(chain: Callable[..., Path], pooling: Any, dense: Any, message: str) -> None:
    with pytest.raises(NotLoadableError, match=message):
        load_model(chain(pooling, dense))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("left", [False, True])
def test_padding_never_counts(mode: str, left: bool) -> None:
    torch.manual_seed(0)
    tokens = torch.randn(2, 4, 3)
    alone = Pooling((mode,))(tokens, torch.ones(2, 4))
    filler = torch.full((2, 3, 3), torch.nan)
    both = torch.cat([filler, tokens] if left else [tokens, filler], dim=1)
    mask = torch.cat([torch.zeros(2, 3), torch.ones(2, 4)] if left else [torch.ones(2, 4), torch.zeros(2, 3)], dim=1)
    assert torch.allclose(Pooling((mode,))(both, mask), alone)
