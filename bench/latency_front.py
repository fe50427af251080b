"""Networks that are found within the latency of a known one of several widths, beside those, on this machine.

python bench/latency_front.py RESULT.json PAGE.md --space SPACE --beside ARCH --named NAME
    [--channels 11,16,24,32,45] [--resolution 96] [--target ort:cpu:1] [--rounds 3]

ARCH is an architecture of the space. Of every width it is measured, a search of the same width has that as
its limit, and then all are measured again in turns. Nothing is trained: what is compared is costs, and scores
that need no training. Writes RESULT.json, PAGE.md and PAGE.png, all new.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import znas
from znas.bench.machine import load_average, machine, short, versions
from znas.bench.reading import one_line
from znas.costs.latency import PROCESSES, Meter, Target
from znas.files import check_new, write_file
from znas.output import Document, Figure, Notes, Table, markdown
from znas.output.figures import SERIES, canvas, legend, png, style
from znas_engine import kernels, paths
from znas_engine.data import Dataset
from znas_engine.data.gaussian import Gaussian
from znas_engine.spaces import Macro, SearchSpace, get_space

#: Classes of ImageNet; random architectures of percentiles, and environments of those.
CLASSES, REFERENCES, ENVIRONMENTS = 1000, 100, 8
#: What is drawn: (key of a row, axis).
PANELS = (("flops", "multiply-accumulates (M)"), ("percentile", "random ones that score lower (%)"))
FOUND = "found"

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--space", required=True)
    parser.add_argument("--beside", required=True)
    parser.add_argument("--named", required=True)
    parser.add_argument("--channels", default="11,16,24,32,45")
    parser.add_argument("--resolution", type=int, default=96)
    parser.add_argument("--target", default="ort:cpu:1")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    result, page = paths.named(asked.result, "the result"), paths.named(asked.page, "the page")
    picture = page.with_suffix(".png")
    for path in (result, page, picture):
        check_new(path)
    found = measured(
        get_space(asked.space),
        {"named": asked.named, "beside": asked.beside, "resolution": asked.resolution}
        | {"target": str(Target.parse(asked.target)), "command": shlex.join(["python", *sys.argv])},
        [int(channels) for channels in asked.channels.split(",")],
        asked.rounds,
    )
    write_file(result, json.dumps(found, indent=1).encode())
    figure = draw(found, picture.name)
    write_file(picture, figure.png)
    write_file(page, markdown.render(document(found, figure)).encode())


def noise(resolution: int | None = None) -> Dataset:
    """Images as many classes of which are told apart as ImageNet has."""
    return Gaussian(resolution=resolution, classes=CLASSES)


def measured(
    space: SearchSpace[Any], facts: dict[str, Any], widths: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Plain: the machine, and a row per network. widths: channels of networks."""
    rows: list[Row] = []
    for channels in widths:
        rows += _pair(space, facts, channels)
        say(f"C={channels}: {rows[-1]['arch']}")
    for _ in range(rounds):  # in turns, so that a machine whose speed drifts slows all
        for row in rows:
            row["ms"].append(_milliseconds(space, facts, row))
            say(f"{row['network']}, C={row['channels']}: {row['ms'][-1]:.3f} ms")
    scored = znas.score(
        space=space,
        data=noise,
        resolution=facts["resolution"],
        architectures=list(dict.fromkeys(row["arch"] for row in rows)),
        references=REFERENCES,
        envs=ENVIRONMENTS,
    )
    known = {row.arch: row for row in scored.rows}
    for row in rows:
        own = known[row["arch"]]
        row |= {"percentile": own.percentile, "low": own.low, "high": own.high}
    return facts | {
        "space": space.name,
        "machine": machine(),
        "versions": versions(),
        "commit": kernels.commit(),
        "load": load_average(),
        "scored_at": scored.supernet.resolution,
        "score": scored.conditions.score,
        "rows": rows,
    }


def _pair(space: SearchSpace[Any], facts: dict[str, Any], channels: int) -> list[Row]:
    """The known network of that width, and what a search finds that is no slower."""
    known: Row = {"network": facts["named"], "arch": facts["beside"], "channels": channels}
    most = _milliseconds(space, facts, known)
    result = znas.search(
        space=space,
        data=noise,
        resolution=facts["resolution"],
        network_channels=channels,
        max_latency=f"{most:.4f}ms@{facts['target']}",
        report=say,
    )
    found: Row = {"network": FOUND, "arch": result.arch, "channels": channels}
    for row, limit, seconds in ((known, None, None), (found, most, result.seconds.total)):
        graph = space.network(space.parse(row["arch"]), _size(space, facts, channels))
        row |= {"params": graph.parameters, "flops": graph.flops, "ms": []}
        row |= {"limit": limit, "seconds": seconds}
    return [known, found]


def _size(space: SearchSpace[Any], facts: dict[str, Any], channels: int) -> Macro:
    usual = space.evaluation_macro(resolution=facts["resolution"], classes=CLASSES)
    return replace(usual, channels=channels)


def _milliseconds(space: SearchSpace[Any], facts: dict[str, Any], row: Row) -> float:
    size = _size(space, facts, row["channels"])
    with Meter(space, size, Target.parse(facts["target"]), processes=PROCESSES) as meter:
        return meter.measure(space.parse(row["arch"])).median_ms


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- the page ----------------------------------------------------------------------------------------


def document(data: dict[str, Any], figure: Figure) -> Document:
    cells = [
        [
            f"{row['channels']}",
            row["network"],
            f"{np.median(row['ms']):.3f}",
            f"{min(row['ms']):.3f} to {max(row['ms']):.3f}",
            f"{row['flops'] / 1e6:.1f}",
            f"{row['params'] / 1e6:.2f}",
            f"{row['percentile']:.0f} ({row['low']:.0f} to {row['high']:.0f})",
            row["arch"],
        ]
        for row in data["rows"]
    ]
    headings = ["channels", "network", "ms", "rounds", "M multiply-accumulates", "M parameters"]
    table = Table([*headings, "percentile", "architecture"], cells, left=(1, 7))
    side = data["resolution"]
    title = f"{data['space']} within the latency of {data['named']}, {side} x {side} pixels"
    return Document(title, [table, Notes(tuple(_notes(data))), figure], data)


def _notes(data: dict[str, Any]) -> Iterator[str]:
    side, rounds, target = data["resolution"], len(data["rows"][0]["ms"]), data["target"]
    seconds = [row["seconds"] for row in data["rows"] if row["seconds"] is not None]
    packages = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    yield (
        f"latency of one image of {side} x {side} pixels on {target}: the median of {rounds} rounds in which "
        f"all networks took turns, each in {PROCESSES} processes; {data['machine']['model']}, "
        f"{data['machine']['cores']} cores, {packages}, commit {short(data['commit'])}"
    )
    yield (
        f"the limit of a search was what {data['named']} of its width took just before; a search took "
        f"{min(seconds):.0f} to {max(seconds):.0f} s, latencies that it measured included; "
        f"{data['load']:.1f} processes wanted a core at the end"
    )
    yield (
        f"percentile: of {REFERENCES} random architectures so many score lower by {data['score']}, at "
        f"{data['scored_at']} of {side} pixels (95 % interval over environments); a score knows nothing of "
        "the width of the network, and is no accuracy: nothing was trained here"
    )
    yield f"made by `{data['command']}`"


def draw(data: dict[str, Any], name: str) -> Figure:
    """The picture of a result."""
    return Figure(name, png(drawing(data)), "Multiply-accumulates and score against latency")


@style()
def drawing(data: dict[str, Any]) -> Any:
    """Per panel of PANELS, both kinds of network against their latency."""
    drawn, (panels,) = canvas(1, len(PANELS), width=11, height=4)
    for axes, (key, words) in zip(panels, PANELS, strict=True):
        for network, colour, mark in ((data["named"], SERIES[0], "o"), (FOUND, SERIES[1], "s")):
            own = [row for row in data["rows"] if row["network"] == network]
            xs = [float(np.median(row["ms"])) for row in own]
            ys = [row[key] / (1e6 if key == "flops" else 1) for row in own]
            if key == "percentile":
                axes.vlines(xs, [row["low"] for row in own], [row["high"] for row in own], color=colour)
            axes.plot(xs, ys, color=colour, marker=mark, label=network, clip_on=False)
        axes.set(xlabel=f"milliseconds on {data['target']}", ylabel=words)
        axes.set_xlim(left=0)
        axes.set_ylim(0, 100 if key == "percentile" else None)
        axes.grid()
    legend(drawn)
    return drawn


if __name__ == "__main__":
    one_line(main)
