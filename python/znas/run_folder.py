"""The run folder: everything a search leaves behind, written whole or not at all."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from znas.result import SearchResult
from znas_engine.environment import derive_seed
from znas_engine.errors import StorageError
from znas_engine.graph import Conv, Linear
from znas_engine.spaces import get_space
from znas_engine.supernet.initialisation import Weight, draw_weight
from znas_engine.supernet.normalisation import Statistics


def check_folder(folder: Path) -> None:
    """StorageError where a run folder cannot be made: asked before a search, not after it."""
    if folder.exists() or folder.is_symlink():
        raise StorageError(f"the output folder {folder} exists already; name another one or remove it")
    parent = folder.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=f".{folder.name}."):
            pass
    except OSError as error:
        raise _cannot_write(folder, error) from error


def write(result: SearchResult, folder: Path) -> Path:
    """result.json, scores.csv, architecture.py and architecture.onnx in a new folder."""
    contents = {
        "result.json": (result.to_json() + "\n").encode(),
        "scores.csv": _scores_csv(result).encode(),
        "architecture.py": get_space(result.settings.space).source(result.genotype, result.macro).encode(),
        "architecture.onnx": _onnx(result),
    }
    return write_folder(folder, contents)


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> Path:
    """A new folder with these files: all of them or none; StorageError where it cannot be made."""
    check_folder(folder)
    staging: Path | None = None
    try:
        staging = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f".{folder.name}."))
        for name, data in contents.items():
            (staging / name).write_bytes(data)
        staging.chmod(0o755)
        staging.rename(folder)
    except OSError as error:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        raise _cannot_write(folder, error) from error
    return folder


def _cannot_write(folder: Path, error: OSError) -> StorageError:
    return StorageError(f"the output folder {folder} cannot be written ({error.strerror or error})")


def _scores_csv(result: SearchResult) -> str:
    """One row per operation of an edge and per edge (operation empty): its worth in every environment, and by
    every score if there are several."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = result.settings.rows
    single = len(rows) == result.settings.envs
    columns = [f"environment_{k}" if single else f"{score}_environment_{k}" for k, score in rows]
    writer.writerow(["edge", "operation", "source", "selected", "aggregate", "mean", "std", *columns])
    for edge in result.edges:
        reports = [(name, report, name == edge.selected) for name, report in edge.operations.items()]
        if edge.ensemble is not None:
            reports.append(("", edge.ensemble, edge.kept))
        for name, report, selected in reports:
            source = {True: "intervened", False: "observed", None: "game"}[report.intervened]
            moments = ["" if x is None else x for x in (report.mean, report.std)]
            writer.writerow(
                [edge.edge, name, source, int(selected), report.aggregate, *moments, *report.values]
            )
    return text.getvalue()


def _onnx(result: SearchResult) -> bytes:
    """The architecture of architecture.py with random weights, one seed; normalisation still untrained."""
    from znas_engine.export.onnx_graph import export

    space = get_space(result.settings.space)
    graph = space.network(result.genotype, result.macro)

    def weight(node: Conv | Linear) -> Weight:
        seed = derive_seed(result.settings.seed, "architecture", node.name)
        return draw_weight("gaussian", node.weight_shape, node.fan_in, seed=seed)

    return export(
        graph,
        weight,
        statistics=Statistics.identity(graph),
        metadata={"arch": result.arch, "space": space.name, "weights": "random, untrained"},
    )
