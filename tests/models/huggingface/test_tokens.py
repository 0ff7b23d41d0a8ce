from __future__ import annotations

from pathlib import Path

import pytest

from collapsecheck.datasets import TransformOptions, choose_preprocessing, open_items
from collapsecheck.errors import UsageError
from collapsecheck.models import expected_input, load_model
from collapsecheck.scanning import scan
from collapsecheck.settings import Settings

from .conftest import text


def test_one_length_for_all_texts(bert: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("\n".join(["ba be bi", "ba", " ".join(["ba"] * 11)]))
    preprocessing = choose_preprocessing(open_items(path), expected_input(load_model(bert)), TransformOptions())
    inputs = preprocessing.texts(["ba be bi", "ba"])
    assert isinstance(inputs, dict)
    assert inputs["input_ids"].shape == (2, 13)
    assert inputs["attention_mask"].sum(1).tolist() == [5, 3]
    assert preprocessing.description == "texts as tokens of the model's own tokenizer, filled up to 13"


def test_texts_longer_than_the_model_takes_are_cut_and_counted(bert: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("\n".join(["ba be bi", " ".join(["ba"] * 200)]))
    preprocessing = choose_preprocessing(open_items(path), expected_input(load_model(bert)), TransformOptions())
    assert preprocessing.description.endswith("filled up to 64 and cut there (50% of the texts are longer)")
    with pytest.raises(UsageError, match="do not apply to texts"):
        choose_preprocessing(open_items(path), expected_input(load_model(bert)), TransformOptions(input_scale=2.0))


def test_without_a_tokenizer_the_message_says_what_to_do(bert: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (bert / name).unlink(missing_ok=True)
    path = tmp_path / "x.txt"
    path.write_text("ba\nbe")
    with pytest.raises(UsageError, match="no tokenizer lies beside the model"):
        scan(bert, path)
    (bert / "tokenizer.json").write_text("{")
    with pytest.raises(UsageError, match="cannot read the tokenizer"):
        scan(bert, path)


def test_images_for_a_model_of_texts(bert: Path, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    with pytest.raises(UsageError, match="takes texts, and the data are images"):
        scan(bert, tmp_path / "images")


@pytest.mark.parametrize("batch_size", [7, 64])
def test_a_scan_sees_the_layers_and_depends_on_no_batch_size(bert: Path, tmp_path: Path, batch_size: int) -> None:
    path = tmp_path / "x.txt"
    path.write_text("\n".join(text(i) for i in range(80)))
    report = scan(bert, path, settings=Settings(batch_size=batch_size))
    assert report.data.kind == "text-lines" and report.data.used == 80
    assert report.metrics["distinct_inputs"].value == 80
    names = {layer.layer for layer in report.layers}
    assert {"embeddings.word_embeddings", "encoder.layer.0.output.dense", "encoder.layer.1.output.LayerNorm"} <= names
    assert report.metrics["mean_cosine"].value == pytest.approx(scan(bert, path).metrics["mean_cosine"].value, abs=1e-6)
