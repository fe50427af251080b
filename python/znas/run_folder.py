"""The run folder: everything a search leaves behind, written whole or not at all."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from znas.files import write_folder
from znas.result import SearchResult
from znas_engine import networks
from znas_engine.environment import derive_seed
from znas_engine.graph import Conv, Linear
from znas_engine.spaces import get_space
from znas_engine.supernet.initialisation import Weight, draw_weight
from znas_engine.supernet.normalisation import Statistics


def write(result: SearchResult, folder: Path) -> Path:
    """result.json, scores.csv, architecture.py and architecture.onnx in a new folder."""
    contents = {
        "result.json": (result.to_json() + "\n").encode(),
        "scores.csv": _scores_csv(result).encode(),
        "architecture.py": networks.source(result.settings.space, result.genotype, result.macro).encode(),
        "architecture.onnx": _onnx(result),
    }
    return write_folder(folder, contents)


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
