"""Trains the sample models: ``python -m sample_models.train [NAME...] [--seed K] [--output FOLDER]``.

Each sample is one function below; its docstring says which mechanism breaks the model, or why it stays
healthy. No embedding is edited: what is shipped is what training left. The last lines printed are the
statistics of the embeddings of the 360 shipped digits, which no training has seen. On one release of torch
and one kind of processor two runs give the same weights.
"""

import argparse
from collections.abc import Callable, Iterable
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
    return classifier(networks.healthy_relu(), data, epochs=30)


def complete(data: Digits) -> Trained:
    """Batch-hard triplet loss at a learning rate 100 times too high.

    With the hardest negative nearer than the hardest positive, the loss falls fastest by pulling all rows
    together; a large step gets there at once and no gradient leads away: the loss stays at its margin.
    """
    encoder = networks.complete()

    def loss(batch: Digits) -> Tensor:
        return batch_hard_triplet(encoder(batch.pictures), batch.classes, margin=0.2)

    return plain(encoder, train([encoder], loss, data, epochs=10, rate=3e-2))


def dimensional(data: Digits) -> Trained:
    """VICReg (Bardes et al. 2022) without its covariance term.

    Two noisy views must agree and each dimension must keep its variance, but nothing forbids that all
    64 dimensions carry the same one or two directions: each varies, and together they are almost a line.
    """
    encoder = networks.dimensional()

    def loss(batch: Digits) -> Tensor:
        first, second = encoder(noisy(batch.pictures)), encoder(noisy(batch.pictures))
        kept = sum(functional.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean() for z in (first, second))
        return functional.mse_loss(first, second) * 25 + 25 * kept

    last = train([encoder], loss, data, epochs=40, rate=1e-3)
    # A training checkpoint as DataParallel loops leave them.
    return Trained(encoder, {"epoch": 40, "loss": last, "state_dict": prefixed(encoder, "module.")}, last)


def cluster(data: Digits) -> Trained:
    """A vector-quantised autoencoder whose codebook collapsed: few of its 32 codes are ever used.

    Codes start close together and only the nearest one learns, so the first winners keep winning; there is
    no k-means start and no revival of dead codes.
    """
    encoder = networks.cluster()
    decoder = nn.Sequential(nn.Linear(networks.WIDTH, 128), nn.ReLU(), nn.Linear(128, 64))
    before, codebook = encoder.get_submodule("0"), encoder.get_submodule("1")
    assert isinstance(codebook, networks.Codebook)

    def loss(batch: Digits) -> Tensor:
        rows = before(batch.pictures)
        code = codebook.nearest(rows)
        rebuilt = decoder(codebook(rows))
        return (
            functional.mse_loss(rebuilt, batch.pictures.flatten(1))
            + functional.mse_loss(code, rows.detach())
            + 0.25 * functional.mse_loss(rows, code.detach())
        )

    return plain(encoder, train([encoder, decoder], loss, data, epochs=15, rate=1e-3))


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

    last = train([encoder], loss, data, epochs=60, rate=1e-3)
    return Trained(encoder, {"epoch": 60, "loss": last, "model_state_dict": encoder.state_dict()}, last)


def norm(data: Digits) -> Trained:
    """Adam with an L2 penalty of 1: the penalty outweighs the cross-entropy and all weights go to zero."""
    return classifier(networks.norm(), data, epochs=40, weight_decay=1.0)


def always_one(data: Digits) -> Trained:
    """Sigmoid of the cosine fed to binary cross-entropy against 0/1: the question the tool was born from.

    An untrained deep net without normalisation maps everything to nearly one direction, where the cosine
    has no gradient; and sigmoid(cosine) stays within .27..73, so the loss cannot reward a way out.
    """
    encoder = networks.always_one()

    def loss(batch: Digits) -> Tensor:
        half = len(batch.classes) // 2
        rows = encoder(batch.pictures)
        cosine = functional.cosine_similarity(rows[:half], rows[half : 2 * half])
        same = (batch.classes[:half] == batch.classes[half : 2 * half]).float()
        return functional.binary_cross_entropy(torch.sigmoid(cosine), same)

    return plain(encoder, train([encoder], loss, data, epochs=15, rate=1e-3))


SAMPLES: dict[str, Callable[[Digits], Trained]] = {
    sample.__name__: sample
    for sample in (healthy, healthy_relu, complete, dimensional, cluster, cone, norm, always_one)
}


# ----------------------------------------------------------------------------------------- the training


def train(
    modules: Iterable[nn.Module],
    loss_of: Callable[[Digits], Tensor],
    data: Digits,
    *,
    epochs: int,
    rate: float = 2e-3,
    weight_decay: float = 0.0,
) -> float:
    """Adam over shuffled batches of `data`; gives the mean loss of the last epoch."""
    modules = list(modules)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=rate, weight_decay=weight_decay)
    for module in modules:
        module.train()
    total, steps = 0.0, 0
    for _ in range(epochs):
        total, steps = 0.0, 0
        # The last, smaller batch is left out: batch statistics of a few rows would be noise.
        for rows in torch.randperm(len(data.classes)).split(BATCH)[:-1]:
            loss = loss_of(Digits(data.pictures[rows], data.classes[rows]))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            total, steps = total + loss.item(), steps + 1
    for module in modules:
        module.eval()
    return total / steps


def classifier(encoder: nn.Module, data: Digits, *, epochs: int, weight_decay: float = 0.0) -> Trained:
    """Cross-entropy with a linear head, which is thrown away afterwards."""
    head = nn.Linear(networks.WIDTH, 10)

    def loss(batch: Digits) -> Tensor:
        return functional.cross_entropy(head(encoder(batch.pictures)), batch.classes)

    return plain(encoder, train([encoder, head], loss, data, epochs=epochs, weight_decay=weight_decay))


def batch_hard_triplet(rows: Tensor, classes: Tensor, margin: float) -> Tensor:
    """Hermans et al. 2017: for each row its farthest positive and its nearest negative in the batch."""
    # The small constant keeps the gradient of the root finite where two rows coincide.
    distance = ((rows[:, None] - rows[None, :]).square().sum(dim=2) + 1e-12).sqrt()
    same = classes[:, None] == classes[None, :]
    hardest_positive = distance.masked_fill(~same, 0).amax(dim=1)
    hardest_negative = distance.masked_fill(same, torch.inf).amin(dim=1)
    return functional.relu(hardest_positive - hardest_negative + margin).mean()


def noisy(pictures: Tensor) -> Tensor:
    """One random view: a shift of up to one pixel, the same for the batch, and noise."""
    down, right = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(pictures, (down, right), dims=(2, 3)) + 0.2 * torch.randn_like(pictures)


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
            "1-NN": neighbour_accuracy(rows, held_out.classes.numpy()),
            "loss": trained.loss,
        }
        if number == 0:
            print(f"{'':14}" + "".join(f"{key:>16}" for key in numbers))
        print(f"{name:14}" + "".join(f"{value:16.6g}" for value in numbers.values()))


if __name__ == "__main__":
    main()
