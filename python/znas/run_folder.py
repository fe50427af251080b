"""The run folder: everything a search leaves behind, written whole or not at all, and read again."""

from __future__ import annotations

import hashlib
import json
import pprint
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from znas import front, timm_model
from znas.files import check_new
from znas.output import html
from znas.output.records import as_csv
from znas.packages import lacking
from znas.page import Gathered, Run, document
from znas.page.use import UNSAID
from znas.reopened import check
from znas.result import SearchResult
from znas.summary import records
from znas_engine import __version__, paths, strict_json
from znas_engine.data.preprocess import FORMULA, Preprocess
from znas_engine.environment import derive_seed
from znas_engine.errors import DataError, InvalidValueError, MissingDependencyError, PluginError
from znas_engine.graph import Conv, Linear
from znas_engine.spaces import Genotype, Macro, SearchSpace
from znas_engine.supernet.initialisation import Weight, draw_weight

RESULT = "result.json"
#: What is written of an architecture, and of a search.
SOURCE, UNTRAINED, FED = "architecture.py", "architecture.untrained.onnx", "preprocess.json"
ARCHITECTURE = (SOURCE, UNTRAINED, FED)
SCORES, REPORT = "scores.csv", "report.html"
FILES = (RESULT, SCORES, REPORT, *ARCHITECTURE)
#: What a page names the digests of: what is the same in every run of the same search.
DIGESTED = (SCORES, *ARCHITECTURE)


def write(result: SearchResult, folder: Path) -> Path:
    """A new folder with FILES."""
    from znas.files import write_folder

    contents = {
        RESULT: (result.to_json() + "\n").encode(),
        SCORES: _scores_csv(result).encode(),
        **front.files(result.front, result.request.pareto, result.arch),
        **architecture_files(
            result.space,
            result.genotype,
            result.macro,
            seed=result.conditions.seed,
            preprocess=result.preprocess,
        ),
    }
    contents[REPORT] = _page(result, contents).encode()
    return write_folder(folder, contents)


def _page(result: SearchResult, contents: Mapping[str, bytes]) -> str:
    """What is in the folder, to be looked at; commands are for within it, wherever it is."""
    digests = {name: hashlib.sha256(contents[name]).hexdigest() for name in DIGESTED}
    return html.render(document(Gathered([Run("run", ".", result, digests)])))


def load(folder: str | Path, *, space: str | SearchSpace[Any] | None = None) -> SearchResult:
    """The result that a search left in its run folder (or its result.json).

    space: instead of the one that the file names, where that was an object that its class alone does not
    give back: `znas.load("runs/first", space=MySpace(4))`.

    Raises:
        StorageError: the file cannot be read. DataError: it is not what a search of this version writes, or
            not of this space. InvalidValueError, PluginError: its space is not here, or refuses it.
    """
    path = paths.named(folder, "`folder`")
    path = path / RESULT if paths.is_folder(path, "the result") else path
    plain = strict_json.parse(paths.read(path, "the result"), f"the result {path}", DataError)
    try:
        result = SearchResult.from_dict(plain, space)
        check(result, plain, same_space=space is None)
    except (InvalidValueError, PluginError) as error:
        raise type(error)(f"the result {path}: {error}{_elsewhere(plain)}") from error
    except (DataError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        what = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        raise DataError(
            f"the result {path} is not what a search of znas-engine {__version__} writes ({what}); "
            f"{_way_out(plain)}"
        ) from error
    return result


def _elsewhere(plain: dict[str, Any]) -> str:
    """What the search had that is not here."""
    versions, space = plain.get("versions"), plain["request"].get("space")
    absent = lacking(versions) if isinstance(versions, dict) else []
    if absent:
        return f"; the search used what is not installed here: {', '.join(absent)}"
    if isinstance(space, str) and (space.startswith("__main__:") or "<locals>" in space):
        return "; its space is of a script: give it, znas.load(..., space=...)"
    return ""


def _way_out(plain: Any) -> str:
    try:
        wrote = plain["versions"]["znas-engine"]
        newer = _numbers(wrote) > _numbers(__version__)
    except (LookupError, TypeError, ValueError):
        return "search again"
    if newer:
        return f"written by znas-engine {wrote:.40}, newer than this {__version__}: update znas-engine"
    return "search again"


def _numbers(version: str) -> list[int]:
    """1.10.0rc1 -> [1, 10, 0]"""
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def check_folder(out: Path) -> None:
    """What writing a run or a network needs, asked before the work: a new name, and what writes ONNX."""
    check_new(out)
    try:
        import znas_engine.export.network  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"architecture.untrained.onnx needs onnx ({error}): pip install onnx, or drop --out"
        ) from error


def architecture_files(
    space: SearchSpace[Any],
    genotype: Genotype,
    macro: Macro,
    *,
    seed: int,
    preprocess: Preprocess | None = None,
) -> dict[str, bytes]:
    """ARCHITECTURE: architecture.py, which imports only torch, the graph with random weights, and how both
    are fed."""
    fed = preprocess or Preprocess(size=macro.resolution, note=UNSAID)
    files = source_files(space, genotype, macro, fed)
    return {SOURCE: files[SOURCE], UNTRAINED: _onnx(space, genotype, macro, seed, fed), FED: files[FED]}


def source_files(
    space: SearchSpace[Any], genotype: Genotype, macro: Macro, fed: Preprocess
) -> dict[str, bytes]:
    """SOURCE and FED: what `architecture_files` writes without weights."""
    classifier = space.network(genotype, macro).nodes[-1].name
    for_timm = timm_model.source(classes=macro.classes, inputs=macro.inputs, classifier=classifier)
    return {
        SOURCE: f"{space.source(genotype, macro)}{_constants(fed)}{for_timm}".encode(),
        FED: f"{json.dumps(fed.to_dict(), indent=1)}\n".encode(),
    }


def _constants(preprocess: Preprocess) -> str:
    """The end of architecture.py."""
    values: dict[str, Any] = {
        "SIZE": preprocess.size,
        "CHANNELS": preprocess.channels,
        "SCALE": preprocess.scale,
    }
    values |= {"MEAN": preprocess.mean, "STD": preprocess.std, "CLASSES": preprocess.classes}
    lines = [f"{name} = {pprint.pformat(value, width=100, compact=True)}\n" for name, value in values.items()]
    said = (
        f"What images are. Crop: {preprocess.crop}. Resize: {preprocess.resize}. Then {FORMULA}"
        if preprocess.known
        else f"{preprocess.note or UNSAID}"
    )
    return "".join(["\n\n", *(f"# {line}\n" for line in textwrap.wrap(f"{said}.", 106)), *lines])


def _scores_csv(result: SearchResult) -> str:
    return as_csv([record | {"selected": int(record["selected"])} for record in records(result)])


def _onnx(
    space: SearchSpace[Any], genotype: Genotype, macro: Macro, seed: int, preprocess: Preprocess
) -> bytes:
    """The architecture of architecture.py with random weights, one seed; normalisation still untrained."""
    from znas_engine.export.network import export, untrained

    graph = space.network(genotype, macro)

    def weight(node: Conv | Linear) -> Weight:
        drawn = derive_seed(seed, "architecture", node.name)
        return draw_weight("gaussian", node.weight_shape, node.fan_in, seed=drawn)

    about = about_model(space, genotype, preprocess, weights="random, untrained")
    return export(graph, untrained(graph, weight), metadata=about)


def about_model(
    space: SearchSpace[Any], genotype: Genotype, preprocess: Preprocess, *, weights: str
) -> dict[str, str]:
    """What an ONNX file says of itself; weights: where they come from, in words."""
    return {
        "arch": str(genotype),
        "space": space.name,
        "weights": weights,
        "preprocess": json.dumps(preprocess.to_dict()),
    }
