"""Trains the sample models: ``python -m sample_models.train [NAME...] [--seed K] [--output FOLDER]``.

Each sample is one function below; its docstring says which mechanism breaks the model, or why it stays
healthy. No embedding is edited: what is shipped is what training left. The last lines printed are the
statistics of the embeddings of the 360 shipped digits, which no training has seen. On one release of torch
and one kind of processor two runs give the same weights.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sample_models import networks
from sample_models.make_digits import all_digits, shipped

CHECKPOINTS = Path(__file__).parent / "checkpoints"
BATCH = 96

Optimiser = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class Digits(NamedTuple):
    """Pictures ``[n, 1, 8, 8]`` in 0..1 and their classes ``[n]``."""

    pictures: Tensor
    classes: Tensor


class Trained(NamedTuple):
    """What one sample's training leaves: the encoder, the file's content, and the last loss."""

    encoder: nn.Module
    checkpoint: dict[str, Any]
    loss: float


def load() -> tuple[Digits, Digits]:
    """The digits to train on (1437) and the shipped ones (360)."""
    pixels, names = all_digits()
    pictures, classes = torch.from_numpy(pixels)[:, None].float() / 255, torch.from_numpy(names)
    held_out = torch.from_numpy(shipped(names))
    return Digits(pictures[~held_out], classes[~held_out]), Digits(pictures[held_out], classes[held_out])


# ------------------------------------------------------------------------------------------ the samples


def healthy(data: Digits) -> Trained:
    """Cross-entropy through a linear head: the ordinary way to an embedding."""
    return classifier(networks.healthy(), data, epochs=12)


def healthy_relu(data: Digits) -> Trained:
    """As `healthy`, yet all features are positive: cosines are high, and the model is right."""
    return classifier(networks.healthy_relu(), data, epochs=80)


def complete(data: Digits) -> Trained:
    """Batch-hard triplet loss on squared distances, unbounded embeddings, a learning rate 30 times too high.

    At first the farthest positive lies beyond the nearest negative, and the loss falls fastest by pulling
    all rows together. Once they coincide a squared distance has no gradient: the loss stays at its margin.
    The large steps also leave most ReLUs dead. A thread with this outcome: tensorflow-triplet-loss#37.
    """
    encoder = networks.complete()

    def loss(batch: Digits) -> Tensor:
        return batch_hard_triplet(encoder(batch.pictures), batch.classes, margin=0.2)

    return plain(encoder, train([encoder], loss, data, epochs=20, optimiser=adam(rate=3e-2)))


def dimensional(data: Digits) -> Trained:
    """An autoencoder whose bottleneck was left at two units: 64 dimensions that hold a plane."""
    encoder, decoder = networks.dimensional(), pixel_decoder()

    def loss(batch: Digits) -> Tensor:
        return functional.mse_loss(decoder(encoder(batch.pictures)), batch.pictures.flatten(1))

    last = train([encoder, decoder], loss, data, epochs=15)
    # A training checkpoint as DataParallel loops leave them.
    return Trained(encoder, {"epoch": 15, "loss": last, "state_dict": prefixed(encoder, "module.")}, last)


def cluster(data: Digits) -> Trained:
    """A vector-quantised autoencoder whose codebook collapsed: few of its 32 codes are ever used.

    Only the code that is nearest to some row learns, so the first winners keep winning; there is no k-means
    start and no revival of dead codes.
    """
    encoder, decoder = networks.cluster(), pixel_decoder()
    before, codebook = encoder.get_submodule("0"), encoder.get_submodule("1")
    assert isinstance(codebook, networks.Codebook)

    def loss(batch: Digits) -> Tensor:
        rows = before(batch.pictures)
        code = codebook.nearest(rows)
        rebuilt = decoder(codebook(rows))
        return (
            functional.mse_loss(rebuilt, batch.pictures.flatten(1))
            + functional.mse_loss(code, rows.detach())
            + functional.mse_loss(rows, code.detach())
        )

    return plain(encoder, train([encoder, decoder], loss, data, epochs=25))


def cone(data: Digits) -> Trained:
    """Dot product regressed on raw ratings (100 for the same class, 99 for another), never centred.

    The product has no bias of its own, so the common 99 has to be carried by the embeddings: every row
    gets the same large component, and what tells the classes apart is small beside it.
    """
    encoder = networks.cone()

    def loss(batch: Digits) -> Tensor:
        rows = encoder(batch.pictures)
        same = (batch.classes[:, None] == batch.classes[None, :]).float()
        return functional.mse_loss(rows @ rows.T, 99 + same)

    last = train([encoder], loss, data, epochs=60)
    return Trained(encoder, {"epoch": 60, "loss": last, "model_state_dict": encoder.state_dict()}, last)


def norm(data: Digits) -> Trained:
    """Adam with an L2 penalty of 1: the penalty outweighs the cross-entropy and all weights go to zero."""
    return classifier(networks.norm(), data, epochs=40, optimiser=adam(rate=3e-3, weight_decay=1.0))


def always_one(data: Digits) -> Trained:
    """Sigmoid of the cosine fed to binary cross-entropy against 0/1: the question the tool was born from.

    PyTorch's default initialisation makes a deep net without normalisation map everything to nearly one
    direction. There the cosine has no gradient, so training changes nothing but the decay of the weights;
    and as sigmoid(cosine) stays within .27...73, the loss of 1.2 does not look like a standstill.
    """
    encoder = networks.always_one()

    def loss(batch: Digits) -> Tensor:
        half = len(batch.classes) // 2
        rows = encoder(batch.pictures)
        cosine = functional.cosine_similarity(rows[:half], rows[half : 2 * half])
        same = (batch.classes[:half] == batch.classes[half : 2 * half]).float()
        return functional.binary_cross_entropy(torch.sigmoid(cosine), same)

    # The optimiser of the VGG paper (Simonyan & Zisserman 2015).
    vgg = partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=5e-4)
    return plain(encoder, train([encoder], loss, data, epochs=30, optimiser=vgg))


SAMPLES: dict[str, Callable[[Digits], Trained]] = {
    sample.__name__: sample
    for sample in (healthy, healthy_relu, complete, dimensional, cluster, cone, norm, always_one)
}


# ----------------------------------------------------------------------------------------- the training


def adam(rate: float = 1e-3, weight_decay: float = 0.0) -> Optimiser:
    """Adam with its L2 penalty added to the gradient (not decoupled, as AdamW's is)."""
    return partial(torch.optim.Adam, lr=rate, weight_decay=weight_decay)


def train(
    modules: Sequence[nn.Module],
    loss_of: Callable[[Digits], Tensor],
    data: Digits,
    *,
    epochs: int,
    optimiser: Optimiser | None = None,
) -> float:
    """Minimise a loss over shuffled batches of `data`, by Adam by default; gives the last epoch's mean loss."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    steps_of = (optimiser or adam())(parameters)
    for module in modules:
        module.train()
    total, steps = 0.0, 0
    for _ in range(epochs):
        total, steps = 0.0, 0
        # The last, smaller batch is left out: batch statistics of a few rows would be noise.
        order = torch.randperm(len(data.classes))
        for rows in torch.split(order, BATCH)[:-1]:
            loss = loss_of(Digits(data.pictures[rows], data.classes[rows]))
            steps_of.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            steps_of.step()
            total, steps = total + loss.item(), steps + 1
    for module in modules:
        module.eval()
    return total / steps


def classifier(encoder: nn.Module, data: Digits, *, epochs: int, optimiser: Optimiser | None = None) -> Trained:
    """Cross-entropy with a linear head, which is thrown away afterwards."""
    head = nn.Linear(networks.WIDTH, 10)

    def loss(batch: Digits) -> Tensor:
        return functional.cross_entropy(head(encoder(batch.pictures)), batch.classes)

    return plain(encoder, train([encoder, head], loss, data, epochs=epochs, optimiser=optimiser))


def batch_hard_triplet(rows: Tensor, classes: Tensor, margin: float) -> Tensor:
    """Hermans et al. 2017, squared: for each row its farthest positive and nearest negative in the batch."""
    distance = (rows[:, None] - rows[None, :]).square().sum(dim=2)
    same = classes[:, None] == classes[None, :]
    hardest_positive = distance.masked_fill(~same, 0).amax(dim=1)
    hardest_negative = distance.masked_fill(same, torch.inf).amin(dim=1)
    return functional.relu(hardest_positive - hardest_negative + margin).mean()


def pixel_decoder() -> nn.Module:
    """From an embedding back to the 64 pixels."""
    return nn.Sequential(nn.Linear(networks.WIDTH, 128), nn.ReLU(), nn.Linear(128, 64))


def plain(encoder: nn.Module, loss: float) -> Trained:
    """A sample whose file is the bare state_dict of its encoder."""
    return Trained(encoder, dict(encoder.state_dict()), loss)


def prefixed(encoder: nn.Module, prefix: str) -> dict[str, Tensor]:
    """The encoder's state_dict with `prefix` before each key."""
    return {prefix + key: value for key, value in encoder.state_dict().items()}


# ------------------------------------------------------------------------------------------ the numbers


def describe(rows: NDArray[np.float32]) -> dict[str, float]:
    """The obvious float64 formulas; all pairs are formed, so this is for small sets only."""
    x = rows.astype(np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    unit = x / norms
    cosines = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    centred = unit - unit.mean(axis=0)
    share = np.linalg.svd(centred, compute_uv=False)
    share = share[share > 0] / share.sum()
    return {
        "mean cosine": float(cosines.mean()),
        "least cosine": float(cosines.min()),
        "std of cosine": float(cosines.std()),
        "unit spread": float(np.linalg.norm(centred) / np.linalg.norm(unit)),
        "effective rank": float(np.exp(-(share * np.log(share)).sum())),
        "distinct rows": float(len(np.unique(rows, axis=0))),
        "median norm": float(np.median(norms)),
    }


def torch_cosine(rows: NDArray[np.float32]) -> float:
    """The mean cosine as a user of torch sees it: lengths below 1e-8 are raised to 1e-8."""
    first, second = np.triu_indices(len(rows), 1)
    x = torch.from_numpy(rows)
    return float(functional.cosine_similarity(x[first], x[second]).mean())


def neighbour_accuracy(rows: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    """Share of rows whose nearest other row (Euclidean) has the same class."""
    x = rows.astype(np.float64)
    distance = np.linalg.norm(x[:, None] - x[None, :], axis=2)
    np.fill_diagonal(distance, np.inf)
    return float((classes[distance.argmin(axis=1)] == classes).mean())


def main() -> None:
    """Train the named samples (all by default), write their checkpoints and print what they give."""
    parser = argparse.ArgumentParser(description="Train the sample models.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SAMPLES)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=CHECKPOINTS, help="folder for NAME.pt")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(SAMPLES))
    if unknown:
        parser.error(f"no sample is called {unknown[0]}; there are {', '.join(SAMPLES)}")

    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    training, held_out = load()
    for number, name in enumerate(options.names or SAMPLES):
        torch.manual_seed(options.seed)
        trained = SAMPLES[name](training)
        torch.save(trained.checkpoint, options.output / f"{name}.pt")
        with torch.inference_mode():
            rows = trained.encoder(held_out.pictures).numpy()
        numbers = describe(rows) | {
            "torch cosine": torch_cosine(rows),
            "1-NN": neighbour_accuracy(rows, held_out.classes.numpy()),
            "loss": trained.loss,
        }
        if number == 0:
            print(f"{'':14}" + "".join(f"{key:>16}" for key in numbers))
        print(f"{name:14}" + "".join(f"{value:16.6g}" for value in numbers.values()))


if __name__ == "__main__":
    main()
