"""What a cluster costs where it gains nothing: two workers of one thread beside two threads of this process.

python bench/cluster_overhead.py RESULT.json PAGE.md --data-dir DATA --table TABLE.csv
    [--pairs 3] [--architectures 1000] [--seeds 5] [--rows random,naswot-100,...]

Starts a Ray cluster of three nodes on this machine, a head without cores and two of one core each, and does
two jobs here and there in turns, in one process: naswot of that many architectures of TABLE in 4 environments
as `reproduce correlation` measures it, and rows x seeds of searches as `reproduce table2` does. Results must
be equal. The first pair brings workers and caches and is not counted. Writes RESULT.json and PAGE.md, both
new; needs the extra `cluster`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ray.cluster_utils import Cluster

from znas.bench.machine import load_average, machine, short, versions
from znas.bench.reading import one_line
from znas.cluster.where import place_of
from znas.files import check_new, write_file
from znas.middle import middle
from znas.output import Document, Notes, Table, markdown
from znas.reproduce.correlation import score_table
from znas.reproduce.published import space_of
from znas.reproduce.rows import choose, proxied
from znas.reproduce.trials import run_trials
from znas.request import Request
from znas.setup import Setup
from znas_engine import kernels, paths
from znas_engine.scores import get_scores
from znas_engine.spaces import get_space
from znas_engine.tables import read_table

#: Workers, of one thread; threads here; environments of the correlation.
WORKERS, ENVIRONMENTS = 2, 4
ROWS = "random,naswot-100,most-flops-first,paper-p0.5"
CORRELATION, SEARCHES = "reproduce correlation", "reproduce table2"

Job = Callable[[Request, Path], Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--architectures", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", default=ROWS)
    asked = parser.parse_args()
    result, page = paths.named(asked.result, "the result"), paths.named(asked.page, "the page")
    for path in (result, page):
        check_new(path)
    found = measured(asked)
    write_file(result, json.dumps(found, indent=1).encode())
    write_file(page, markdown.render(document(found)).encode())


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Plain: seconds of every job in every pair, here and there."""
    here = Request(data_dir=asked.data_dir, threads=WORKERS, space=space_of("table2"))
    os.environ.setdefault("RAY_worker_niceness", "0")  # or whatever else runs here comes before workers
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(WORKERS):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        on = f"ray:{cluster.address}"
        there = replace(here, threads=None, on=on, actors=WORKERS, threads_per_actor=1)
        rows = [_paired(name, job, here, there, asked.pairs) for name, job in jobs(asked).items()]
        place_of(on, WORKERS, 1).rest()  # type: ignore[union-attr]
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()
    return {
        "machine": machine(),
        "versions": versions() | {"ray": ray.__version__},
        "commit": kernels.commit(),
        "load": load_average(),
        "command": shlex.join(["python", *sys.argv]),
        "architectures": asked.architectures,
        "environments": ENVIRONMENTS,
        "table_rows": asked.rows.split(","),
        "seeds": asked.seeds,
        "rows": rows,
    }


def jobs(asked: argparse.Namespace) -> dict[str, Job]:
    """What is done here and there; each gives what must be equal."""
    space = get_space(space_of("table2"))
    table = read_table(asked.table, space)
    chosen = choose(space, asked.rows.split(","), "shipped", None)

    def correlation(request: Request, work: Path) -> Any:
        request = proxied(replace(request, envs=ENVIRONMENTS))
        scores = get_scores("naswot")
        scored = score_table(table, scores, request, architectures=asked.architectures, work=work)
        return {name: values.tolist() for name, values in scored.scores.items()}

    def searches(request: Request, work: Path) -> Any:
        trials = run_trials(chosen, Setup(request), seeds=asked.seeds, work=work)
        return {name: [(each.arch, each.evaluations) for each in of] for name, of in trials.items()}

    return {CORRELATION: correlation, SEARCHES: searches}


def _paired(name: str, job: Job, here: Request, there: Request, pairs: int) -> dict[str, Any]:
    """Seconds of the job on both, in turns; `first` are those of the pair that is not counted."""
    seconds: dict[str, list[float]] = {"here": [], "there": []}
    for number in range(pairs + 1):
        found = {}
        order = [("here", here), ("there", there)]
        for where, request in order if number % 2 else order[::-1]:
            found[where], spent = _timed(partial(job, request))
            seconds[where].append(spent)
            say(f"{name}, {where}: {spent:.2f} s")
        assert found["here"] == found["there"], f"{name}: results differ"
    first = {where: spent.pop(0) for where, spent in seconds.items()}
    return {"job": name, "first": first, "seconds": seconds}


def _timed(call: Callable[[Path], Any]) -> tuple[Any, float]:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        return call(Path(folder) / "job.work"), time.perf_counter() - started


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- the page ----------------------------------------------------------------------------------------


def document(data: dict[str, Any]) -> Document:
    cells = []
    for row in data["rows"]:
        here, there = row["seconds"]["here"], row["seconds"]["there"]
        ratio = middle([b / a for a, b in zip(here, there, strict=True)])
        cells.append(
            [
                row["job"],
                f"{np.median(here):.2f}",
                f"{np.median(there):.2f}",
                f"{ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]",
                f"{len(here)}",
                f"{row['first']['there'] - float(np.median(there)):.1f}",
            ]
        )
    headings = ["job", "two threads, s", "two workers, s", "ratio", "pairs", "start of workers, s"]
    return Document(
        "Two workers of one thread beside two threads of one process",
        [Table(headings, cells, left=(0,)), Notes(tuple(_notes(data)))],
        data,
    )


def _notes(data: dict[str, Any]) -> Iterator[str]:
    packages = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    yield (
        f"{CORRELATION}: naswot of {data['architectures']:,} architectures in {data['environments']} "
        f"environments; {SEARCHES}: {', '.join(data['table_rows'])} with {data['seeds']} seeds each; results "
        "were equal in every pair"
    )
    yield (
        "a Ray cluster of three nodes on one machine, a head without cores and two nodes of one core, each "
        "with its own processes and object store; the same process did both, in turns"
    )
    yield (
        "ratio: the median over pairs of seconds on two workers to seconds on two threads, with its "
        "interval; start of workers: what the first job there, not counted, took longer than the median"
    )
    yield (
        f"{data['machine']['model']}, {data['machine']['cores']} cores, {packages}, commit "
        f"{short(data['commit'])}; {data['load']:.1f} processes wanted a core at the end"
    )
    yield f"made by `{data['command']}`"


if __name__ == "__main__":
    one_line(main)
