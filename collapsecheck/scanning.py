"""The whole tool on one screen: load, observe, examine, judge, locate, diagnose, decide, report."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np

from collapsecheck.discovery import documentation
from collapsecheck.examination import all_checks, examine
from collapsecheck.gate import decide, parse_requirement
from collapsecheck.reports import DataFacts, LayerFacts, ModelFacts, Report
from collapsecheck.settings import Settings
from collapsecheck.verdict import Verdict, judge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapsecheck.causes import Diagnosis
    from collapsecheck.checks import Finding
    from collapsecheck.observe import Observations
    from collapsecheck.observe.probe import ProbeTaker

P = ParamSpec("P")
R = TypeVar("R")

Progress = Callable[[str, int | None, int], None]
"""Called with a stage, the number of items in all (None: unknown) and the number of items newly done."""

HISTOGRAM_BINS = 60


def _with_own_random_numbers(function: Callable[P, R]) -> Callable[P, R]:
    """Leave torch's random state as it was: a model may draw from it although it is in eval mode."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        import torch

        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            return function(*args, **kwargs)

    return wrapped


@_with_own_random_numbers
def scan(
    model: Path | str,
    data: Path | str | None = None,
    *,
    dataset: str | None = None,
    column: str | None = None,
    sample_rate: int | None = None,
    seconds: float | None = None,
    max_pixels: int | None = None,
    model_def: str | None = None,
    arch: str | None = None,
    key: str | None = None,
    allow_partial: bool = False,
    trust_checkpoint: bool = False,
    layer: str | None = None,
    pool: Literal["mean", "cls"] = "mean",
    size: int | tuple[int, int] | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_scale: float | None = None,
    transform: str | None = None,
    labels: Path | None = None,
    loss: str | None = None,
    margin: float | None = None,
    temperature: float | None = None,
    last_loss: float | None = None,
    settings: Settings | None = None,
    progress: Progress = lambda stage, total, done: None,
) -> Report:
    """Scan a checkpoint on a data set, neither of which is changed.

    Nothing in the checkpoint is executed, unless `trust_checkpoint` allows it.

    Parameters
    ----------
    model, data
        Paths of the checkpoint and of the data.
    dataset
        In place of `data`: `FILE_OR_MODULE:CALLABLE` that returns a data set of yours.
    column
        Column of a table that is the input.
    sample_rate, seconds
        Rate and length that sounds are brought to.
    max_pixels
        Images with more pixels count as unreadable; 64 million by default.
    model_def, arch
        `FILE_OR_MODULE:CALLABLE` that builds the model, or the name of a torchvision model. Without either the
        file must tell.
    trust_checkpoint
        Let code in the checkpoint run, in a process of its own.
    key, allow_partial
        Where in the file the weights are; whether to go on when some do not fit.
    layer, pool
        The module whose output is the embedding; how tokens become one embedding.
    size, mean, std, input_scale, transform
        Preprocessing, as the options of the command line; `transform` is `FILE_OR_MODULE:CALLABLE`.
    labels
        File of labels, instead of those that the data bring along.
    loss, margin, temperature
        The loss that the model was trained with: a name such as `triplet`, or `FILE_OR_MODULE:CALLABLE`, and its
        settings; by default what the checkpoint tells.
    last_loss
        Its last value in the training; by default what the checkpoint tells.
    settings
        Gate, thresholds, device and the like; by default `Settings()`, which reads no file.
    progress
        Called with a stage, the number of items in all and the number of items newly done.

    Raises
    ------
    UsageError, NotLoadableError, NotMeasuredError
        Whatever a user can do something about; the message says what.
    """
    settings = settings or Settings()
    check_settings(settings)
    started, begin = datetime.now(UTC), time.perf_counter()

    from collapsecheck.checkpoints.recipe import recipe_of
    from collapsecheck.checkpoints.training_state import read_training_state
    from collapsecheck.datasets import Batches, OpenOptions, TransformOptions, choose_preprocessing, open_items
    from collapsecheck.datasets.user_dataset import open_user_dataset
    from collapsecheck.errors import UsageError
    from collapsecheck.models import choose_readout, expected_input, load_callable, load_model
    from collapsecheck.models.optimiser import idle_of, optimiser_of
    from collapsecheck.objectives import recorded, stated
    from collapsecheck.observe import Observations
    from collapsecheck.observe.forward import Forward, choose_device, extract
    from collapsecheck.observe.gradcheck import gradient_checks
    from collapsecheck.observe.gradient_probe import gradients_of
    from collapsecheck.observe.probe import PROBE_ITEMS, ProbeTaker
    from collapsecheck.observe.repeatability import repeatability_of
    from collapsecheck.observe.weight_facts import weight_facts

    device = choose_device(settings.device)
    opening = OpenOptions(column=column, sample_rate=sample_rate, seconds=seconds, max_pixels=max_pixels)
    if dataset is not None:
        items = open_user_dataset(dataset, labels, opening)
    elif data is not None:
        items = open_items(data, labels, opening)
    else:
        raise UsageError("nothing to scan the model on: give `data` or `dataset`")
    labelled = items.labels is not None
    objective = stated(loss, margin=margin, temperature=temperature, labelled=labelled) if loss else None
    progress("loading the model", None, 0)
    loaded = load_model(
        model,
        model_def=model_def,
        arch=arch,
        key=key,
        allow_partial=allow_partial,
        trust_checkpoint=trust_checkpoint,
    )
    recipe = recipe_of(read_training_state(loaded.checkpoint.content)).stated(
        loss=objective.id if objective is not None else None, margin=margin, last_loss=last_loss
    )
    objective = objective or recorded(recipe.loss, margin=recipe.margin, temperature=temperature, labelled=labelled)
    readout = choose_readout(loaded, layer, pool)
    facts = weight_facts(loaded.module)  # on the CPU: not every device has float64
    loaded.module.to(device)
    preprocessing = choose_preprocessing(
        items,
        expected_input(loaded),
        TransformOptions(
            size=size,
            mean=mean,
            std=std,
            input_scale=input_scale,
            transform=load_callable(transform, option="--transform") if transform else None,
        ),
    )
    batches = Batches(
        items,
        preprocessing,
        batch_size=settings.batch_size,
        workers=settings.workers,
        pin_memory=device.type == "cuda",
        max_samples=settings.max_samples,
        seed=settings.seed,
        first=PROBE_ITEMS,
    )
    forward = Forward(readout, device, settings.precision)
    taker = ProbeTaker(forward, readout, seed=settings.seed)
    embeddings, inputs = extract(
        forward,
        taker.through(batches),
        seed=settings.seed,
        advance=lambda rows: progress("embedding", len(batches), rows),
    )
    probe = taker.probe()
    read_optimiser = cache(lambda: optimiser_of(loaded))
    seen = Observations(
        embeddings=embeddings,
        inputs=inputs,
        missing_keys=loaded.missing_keys,
        unexpected_keys=loaded.unexpected_keys,
        mismatched_keys=loaded.mismatched_keys,
        items=batches.seen,
        unreadable=tuple(batches.unreadable),
        repeatability=repeatability_of(probe),
        weights=facts,
        gradient_checks=gradient_checks(probe, settings.gradcheck),
        gradients_from=lambda: gradients_of(probe, objective),
        idle_from=lambda: idle_of(loaded, read_optimiser),
    )
    report = report_on(
        seen,
        settings,
        taker,
        progress,
        training={
            "recipe": recipe,
            "objective": objective,
            "read_optimiser": read_optimiser,
        },
        model=ModelFacts(
            path=str(model),
            sha256=loaded.checkpoint.sha256,
            format=loaded.checkpoint.format,
            trust=loaded.architecture.trust,
            notes=tuple(note.message for note in loaded.notes),
            architecture=loaded.architecture.name,
            architecture_reason=loaded.architecture.reason,
            assumed=loaded.architecture.assumed,
            missing_keys=loaded.missing_keys,
            unexpected_keys=loaded.unexpected_keys,
            mismatched_keys=loaded.mismatched_keys,
            ignored_keys=loaded.ignored,
            averaged_keys=loaded.averaged,
            parameters=loaded.parameters,
            embedding_layer=readout.shown,
            embedding_reason=f"{readout.reason} ({readout.reduction})" if readout.reduction else readout.reason,
            embedding_dim=embeddings.dimension,
        ),
        data=DataFacts(
            path=dataset if data is None and dataset is not None else str(data),
            kind=items.kind,
            seen=batches.seen,
            used=batches.used,
            unreadable=len(batches.unreadable),
            labels=None if items.labels is None else len(items.classes),
            transform="; ".join(filter(None, (items.note, preprocessing.description))),
        ),
        run={},
    )
    return replace(report, run=_run(started, begin, str(device), settings))


def scan_embeddings(
    file: Path | str, *, labels: Path | None = None, settings: Settings | None = None, progress: Progress | None = None
) -> Report:
    """The same statistics, checks, verdict and gate on ready vectors (.npy, .npz, .pt, .safetensors)."""
    settings = settings or Settings()
    check_settings(settings)
    started, begin = datetime.now(UTC), time.perf_counter()

    from collapsecheck.datasets.vectors import read_vectors
    from collapsecheck.observe import observe_arrays

    vectors = read_vectors(Path(file), labels)
    seen = observe_arrays(
        vectors.rows,
        labels=vectors.labels,
        dtype=vectors.dtype,
        seed=settings.seed,
        advance=(lambda rows: progress("reading", len(vectors.rows), rows)) if progress else lambda rows: None,
    )
    report = report_on(
        seen,
        settings,
        model=ModelFacts(path=str(file), format="embeddings", embedding_dim=seen.dimension),
        data=DataFacts(
            path=str(file),
            kind=f"{vectors.dtype} vectors",
            seen=len(vectors.rows),
            used=len(vectors.rows),
            labels=None if vectors.labels is None else len(np.unique(vectors.labels)),
        ),
        run={},
    )
    return replace(report, run=_run(started, begin, "cpu", settings))


def report_on(
    seen: Observations,
    settings: Settings,
    taker: ProbeTaker | None = None,
    progress: Progress = lambda stage, total, done: None,
    *,
    model: ModelFacts,
    data: DataFacts,
    run: dict[str, Any],
    training: Mapping[str, Any] | None = None,
) -> Report:
    """Examine, judge, locate, diagnose and decide; everything after the observations, for any source of them.

    `training` are the fields of a `Scene` that tell of it.
    """
    thresholds = {**settings.thresholds}
    thresholds["readable-data"] = {"error": settings.max_unreadable, **thresholds.get("readable-data", {})}
    checks = [name for name in settings.select if name in all_checks()]
    findings = examine(seen, select=checks, ignore=settings.ignore, thresholds=thresholds)
    verdict = judge(seen, findings)
    depth: dict[str, Any] = {}
    if taker is not None:
        depth = _depth(
            seen=seen, findings=findings, verdict=verdict, settings=settings, thresholds=thresholds, taker=taker,
            progress=progress, training=training or {},
        )  # fmt: skip
    spectrum = seen.spectrum
    counts, edges = np.zeros(0, np.intp), np.array([-1.0, 1.0])
    if len(seen.sample.unit) > 2:
        counts, edges = histogram(seen.sample.cosines)
    return Report(
        model=model,
        data=data,
        verdict=verdict,
        gate=decide(verdict, findings, seen.measurements, settings),
        metrics=seen.measurements,
        findings=tuple(findings),
        spectrum=tuple((spectrum / spectrum.sum()).tolist()) if len(spectrum) and spectrum.sum() > 0 else (),
        cosine_histogram=tuple(int(count) for count in counts),
        cosine_range=(float(edges[0]), float(edges[-1])),
        run=run,
        **depth,
    )


def histogram(values: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Counts in `HISTOGRAM_BINS` bins, and their edges; those that differ by roundings only share one."""
    low, high = float(values.min()), float(values.max())
    if high - low < 2 * HISTOGRAM_BINS * np.spacing(max(abs(low), abs(high))):
        low, high = low - 0.5, high + 0.5
    return np.histogram(values, bins=HISTOGRAM_BINS, range=(low, high))


def _depth(
    *,
    seen: Observations,
    findings: Sequence[Finding],
    verdict: Verdict,
    settings: Settings,
    thresholds: Mapping[str, Mapping[str, float]],
    taker: ProbeTaker,
    progress: Progress,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Where it begins, and why: what the report says of it."""
    from collapsecheck.diagnosis import all_causes, diagnose, onset_of
    from collapsecheck.outlook import outlook_of
    from collapsecheck.scene import Scene

    scene = Scene(
        seen=seen,
        findings=findings,
        kind=verdict.kind,
        probe=taker.probe(),
        layers=taker.layers(),
        trial=settings.trial,
        **training,
    )
    diagnoses: tuple[Diagnosis, ...] = ()
    if settings.diagnose:
        diagnoses = diagnose(
            scene,
            verdict,
            thresholds=thresholds,
            select=[name for name in settings.select if name in all_causes()],
            ignore=settings.ignore,
            advance=lambda cause: progress(f"experiments: {cause}", None, 0),
        )
    layers = tuple(
        LayerFacts(
            layer=layer.site.layer,
            step=str(layer.site),
            type=layer.site.function or layer.site.type,
            depth=layer.depth,
            relative_spread=layer.after.relative_spread,
            mean_cosine=layer.after.mean_cosine,
            effective_rank=layer.after.effective_rank,
            rms=layer.after.rms,
            dead_fraction=layer.after.constant_units,
        )
        for layer in scene.path
    )
    outlook = outlook_of(scene) if settings.diagnose else None
    return {"layers": layers, "onset": onset_of(scene, diagnoses), "diagnoses": diagnoses, "outlook": outlook}


def check_settings(settings: Settings) -> None:
    """Refuse unknown checks, thresholds and metrics before anything slow is done."""
    from collapsecheck.errors import UsageError, did_you_mean

    known = all_checks()
    causes = [name for name, _ in documentation("collapsecheck.causes")]
    for name in (*settings.select, *settings.ignore):
        if name not in known and name not in causes:
            raise UsageError(f"unknown check {name!r}{did_you_mean(name, [*known, *causes])}")
    for name in settings.thresholds:
        if name not in known:
            raise UsageError(f"unknown check {name!r}{did_you_mean(name, known)}")
    for name, limits in settings.thresholds.items():
        for limit in limits:
            if limit not in known[name].thresholds:
                raise UsageError(f"unknown threshold {name}.{limit}{did_you_mean(limit, known[name].thresholds)}")
    if not set([name for name in settings.select if name in known] or known) - set(settings.ignore):
        raise UsageError("the selection leaves not a single check; see --select and --ignore")
    for requirement in settings.require:
        parse_requirement(requirement)


def _run(started: datetime, begin: float, device: str, settings: Settings) -> dict[str, Any]:
    import torch

    return {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - begin, 3),
        "device": device,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "world_size": 1,
        "seed": settings.seed,
    }
