"""`znas.deploy`: trained weights in, one file that says how to feed it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from znas.checked import Check, Images, compared, hold, images_for, runtime
from znas.costs.latency import Latency, Target, measure_latency
from znas.files import write_file
from znas.hooks import QUIET, Report
from znas.notebook import shown
from znas.output import Document, Facts, Notes, Part
from znas.output.notebook import Shown
from znas.result import SearchResult
from znas.run_folder import about_model, load
from znas.summary import how_fed, size_in_words
from znas_engine import paths
from znas_engine.arguments import check_between, choice
from znas_engine.data.preprocess import Preprocess, names_of_classes
from znas_engine.errors import InvalidValueError, one_line
from znas_engine.export import GRAPH_DTYPES
from znas_engine.graph import Graph
from znas_engine.progress import Progress
from znas_engine.spaces import Genotype, Macro, SearchSpace, resize
from znas_engine.spaces.parts import MOST_CLASSES

if TYPE_CHECKING:
    from torch import nn

    from znas_engine.tensorrt import plans


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(Shown):
    """What `znas.deploy` made.

    space, genotype: what it is of. macro, graph: of the network, at the size that was trained. model: the
    file, ONNX or a TensorRT plan (built_by: by what). check: None where nothing here runs the graph. latency:
    where it was asked for. notes: what the user should know.
    """

    space: SearchSpace[Any]
    genotype: Genotype
    macro: Macro
    graph: Graph
    dtype: str
    opset: int
    built_by: str | None
    preprocess: Preprocess
    check: Check | None
    latency: Latency | None
    notes: tuple[str, ...]
    model: bytes

    def __repr__(self) -> str:
        kind = f"{self.built_by} plan" if self.built_by else f"ONNX, opset {self.opset}"
        size = f"{len(self.model) / 1e6:.2f} MB, {self.dtype}"
        return f"<Deployment {self.space.name} {one_line(str(self.genotype), 100)}: {kind}, {size}>"

    def save(self, file: str | Path) -> Path:
        """Writes the model to a new file, whole or not at all; StorageError if it cannot."""
        return write_file(paths.named(file, "the output"), self.model)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; the keys are stable."""
        return {
            "arch": str(self.genotype),
            "space": self.space.name,
            "params": self.graph.parameters,
            "flops": self.graph.flops,
            "network": asdict(self.macro),
            "dtype": self.dtype,
            "opset": self.opset,
            "built_by": self.built_by,
            "bytes": len(self.model),
            "preprocess": self.preprocess.to_dict(),
            "check": None if self.check is None else asdict(self.check),
            "latency": None
            if self.latency is None
            else asdict(self.latency) | {"target": str(self.latency.target)},
            "notes": list(self.notes),
        }

    def document(self) -> Document:
        """What the command prints."""
        m = self.macro
        made = f", {self.built_by}" if self.built_by else ""
        shape = f"images [n, {m.inputs}, {m.resolution}, {m.resolution}] -> logits [n, {m.classes}]"
        size = f"{len(self.model) / 1e6:.2f} MB"
        facts = [
            ("network", size_in_words(m, self.graph.parameters, self.graph.flops)),
            ("model", f"{size}, {self.dtype}, opset {self.opset}{made}; {shape}"),
        ]
        if self.preprocess.known:
            whole = "preprocess.json" if self.built_by else "in the model's metadata"
            facts.append(("input", how_fed(self.preprocess, whole)))
        if self.check is not None:
            facts += _check_in_words(self.check)
        if self.latency is not None:
            facts.append(("latency", str(self.latency)))
        parts: list[Part] = [Facts(facts)]
        if self.notes:
            parts.append(Notes(self.notes))
        return Document(f"A network of the space {self.space.name}", parts, self.to_dict())


def _check_in_words(check: Check) -> Iterator[tuple[str, str]]:
    near = f"within {check.difference:.2g} of PyTorch's (largest {check.largest:.3g})"
    same = f"{round(check.agreement * check.images):,} of {check.images:,} images have the same class"
    yield "checked", f"on {check.source}: ONNX Runtime's logits are {near}, {same}"
    if check.torch is not None and check.onnx is not None:
        right = f"{check.onnx:.2%} by ONNX Runtime, {check.torch:.2%} by PyTorch"
        yield "accuracy", f"{right}, of {check.images:,} images"


def deploy(
    run: str | Path | SearchResult,
    weights: str | Path | Mapping[str, Any],
    *,
    opset: int | None = None,
    dtype: str = "float32",
    compute_capability: str | None = None,
    data_dir: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    channels: int | None = None,
    cells: int | None = None,
    latency: str | None = None,
    space: str | SearchSpace[Any] | None = None,
    progress: Progress = QUIET.progress,
    report: Report = QUIET.report,
) -> Deployment:
    """The network of a search with trained weights as one ONNX file, checked against PyTorch on images:
    `znas.deploy("runs/first", "weights.pt").save("model.onnx")`.

    run: a run folder, or its result. weights: the state dictionary of `build()` in its architecture.py: a
    file of `torch.save`, a .safetensors file, or the dictionary; its classifier says the classes' number.
    opset: of ONNX, the oldest that does by default. dtype: of weights and activations. compute_capability: a
    TensorRT plan for such GPUs instead of ONNX. data_dir: of images to check on; by default those that the
    run's data set keeps from searches, or its own. class_names: in the order of the logits. channels, cells:
    of the network that was trained. latency: where it is timed (see `znas.Target`). space: see `znas.load`.
    progress: called with (images checked, all of them). report: of lines on what takes long.

    Raises:
        ZnasError: weights that do not fit, an opset that there is not, images that cannot be read.
    """
    from znas_engine.export.network import check_opset

    check_opset(opset, choice("dtype", dtype, GRAPH_DTYPES))
    place, where = _target(compute_capability), _here(latency)
    result = run if isinstance(run, SearchResult) else load(run, space=space)
    notes: list[str] = []
    made = _trained(result, weights, channels, cells, class_names, notes.append)

    def images(note: Report) -> Images:
        return images_for(result, made.macro, made.preprocess, data_dir, note)

    asked: dict[str, Any] = {"opset": opset, "dtype": dtype, "place": place, "where": where, "notes": notes}
    with shown("images", progress) as told:
        return packed(made, images, **asked, progress=told, report=report)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A network with its weights. graph, network: the same twice, with weights `tensors` by the keys of the
    network's state dictionary. preprocess: how it is fed."""

    space: SearchSpace[Any]
    genotype: Genotype
    macro: Macro
    graph: Graph
    network: nn.Module
    tensors: Mapping[str, NDArray[np.float32]]
    preprocess: Preprocess


def packed(
    made: Trained,
    images: Callable[[Report], Images],
    *,
    opset: int | None = None,
    dtype: str = "float32",
    place: plans.Target | None = None,
    where: Target | None = None,
    notes: Sequence[str] = (),
    progress: Progress = QUIET.progress,
    report: Report = QUIET.report,
) -> Deployment:
    """The file of a trained network. images: gives those of the check, and is told whom to note to. place:
    of a plan. where: it is timed. notes: that were made before. The others are as for `deploy`."""
    from znas_engine.export.network import check_opset, export

    version, said = check_opset(opset, dtype), list(notes)
    about = about_model(made.space, made.genotype, made.preprocess, weights="trained")
    model = export(made.graph, made.tensors, dtype=dtype, opset=version, metadata=about)
    check = None
    if dtype == "bfloat16":
        said.append("not checked: ONNX Runtime has no such convolutions on a CPU")
    else:
        run = runtime(model, version)
        check = hold(compared(made.network, run, images(said.append), progress), dtype, made.space)
    timed = None
    if where is not None:
        timed = measure_latency(made.space, made.genotype, made.macro, where)
        said += timed.remarks
    if place is not None:
        model = _plan(model, place, said.append, report)
    return Deployment(
        space=made.space,
        genotype=made.genotype,
        macro=made.macro,
        graph=made.graph,
        dtype=dtype,
        opset=version,
        built_by=None if place is None else str(place),
        preprocess=made.preprocess,
        check=check,
        latency=timed,
        notes=tuple(said),
        model=model,
    )


def _here(latency: str | None) -> Target | None:
    """Where the network is timed; asked before the work."""
    if latency is None:
        return None
    found = Target.parse(latency)
    found.check()
    return found


def _target(compute_capability: str | None) -> plans.Target | None:
    """Where a plan will run; asked before the work."""
    if compute_capability is None:
        return None
    from znas_engine.tensorrt.plans import target

    return target(compute_capability)


def _plan(model: bytes, place: plans.Target, note: Report, report: Report) -> bytes:
    from znas_engine.tensorrt.plans import build_alone

    note("what was checked is the ONNX graph of which the plan is built")
    return build_alone(model, place, report)


def _trained(
    result: SearchResult,
    weights: str | Path | Mapping[str, Any],
    channels: int | None,
    cells: int | None,
    class_names: Sequence[str] | None,
    note: Report,
) -> Trained:
    """The run's network with these weights; the rows of their classifier are its classes."""
    import torch

    from znas.weights import fitted, read, without_prefix
    from znas_engine.export.network import shapes

    macro = resize(result.macro, channels=channels, cells=cells)
    graph = result.space.network(result.genotype, macro)
    what, found = read(weights, note)
    found = without_prefix(found, shapes(graph), what, note)
    rows = found.get(f"{graph.nodes[-1].name}.weight")
    if rows is not None and rows.dim() == 2 and len(rows) != macro.classes:
        macro = replace(macro, classes=check_between("classes", len(rows), 1, MOST_CLASSES))
        graph = result.space.network(result.genotype, macro)
    tensors = fitted(found, shapes(graph), what)
    network = result.space.to_torch(result.genotype, macro).eval()
    network.load_state_dict({name: torch.from_numpy(each) for name, each in tensors.items()}, strict=False)
    return Trained(
        space=result.space,
        genotype=result.genotype,
        macro=macro,
        graph=graph,
        network=network,
        tensors=tensors,
        preprocess=_fed(result, macro, class_names, note),
    )


def _fed(result: SearchResult, macro: Macro, class_names: Sequence[str] | None, note: Report) -> Preprocess:
    """How the deployed network is fed, and its classes."""
    unsaid = "the result of the search does not say it"
    found = result.preprocess or Preprocess(size=macro.resolution, note=unsaid)
    if not found.known:
        note(f"the model does not say how its images are made of pictures: {found.note or unsaid}")
    if class_names is not None:
        names = names_of_classes(class_names)
        if len(names) != macro.classes:
            raise InvalidValueError(
                f"`class_names` must be {macro.classes}, as the weights have classes, but are {len(names)}"
            )
        return replace(found, classes=names)
    if found.classes is not None and len(found.classes) != macro.classes:
        note(
            f"the weights have {macro.classes} classes and the search had {len(found.classes)}: their names "
            "are left out, say them with --class-names"
        )
        return replace(found, classes=None)
    return found
