"""From one worker to ten thousand: what a long job takes, simulated, and where that stops scaling.

python bench/cluster_simulation.py COSTS.json --measure --space SPACE
    what Ray and the driver cost on this machine, and runs of one and of two workers; needs Ray
python bench/cluster_simulation.py RESULT.json PAGE.md --space SPACE --costs COSTS.json --times BENCH.json
    [--gpu-times BENCH.json] [--masks 1000000] [--environments 100] [--images 64] [--price 0.04]
    [--gpu-price 2.5] [--most 10000]

BENCH.json: a result of `znas-engine bench` that has one-hot passes of `native` in SPACE (for a GPU any
passes). --price: of a core for an hour, --gpu-price: of a GPU. Writes RESULT.json, PAGE.md and PAGE.png, all
new.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shlex
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cluster_model import LONG, Driver, Fleet, Job, Outcome, simulate

from znas.bench.reading import one_line, read
from znas.files import check_new, write_file
from znas.output import Document, Figure, Heading, Notes, Table, markdown
from znas.output.figures import SERIES, canvas, legend, png, style
from znas.output.scales import decades, plain_logarithmic
from znas.scoring.batches import BATCH
from znas_engine import paths, strict_json
from znas_engine.backends.pool import COPIES, PREPARED, ROOM
from znas_engine.data import load
from znas_engine.environment import draw_environments
from znas_engine.errors import DataError
from znas_engine.footprint import weight_bytes
from znas_engine.spaces import get_space

#: Workers of the curves; and of those with faults, of which much more must be simulated.
WORKERS = (1, 3, 10, 30, 100, 300, 1000, 2000, 4000, 10000)
FAULTY = (10, 100, 1000, 4000)
#: A node's link in bytes per second (10 Gbit/s), its workers, and workers that Ray starts per second.
LINK, PER_NODE, HIRES = 1.25e9, 16, 200.0
#: Hours after which a machine that may be taken away is; after which a worker dies; share of these that hang;
#: share of machines at half the speed; seconds until there is another machine.
TAKEN, DIES, HANGS, SLOW, ANOTHER = 3.0, 24.0, 0.1, 0.1, 300.0
#: Of the efficiency of ten workers, what counts as scaling.
SCALES = 0.8
AS_IT_IS, GPU, BROAD = "as it is", "one GPU per worker", "16 threads per worker"

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path)
    parser.add_argument("page", type=Path, nargs="?")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--space", required=True)
    for name in ("--costs", "--times", "--gpu-times"):
        parser.add_argument(name, type=Path)
    for name, usual in (("masks", 10**6), ("environments", 100), ("images", 64), ("most", WORKERS[-1])):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--price", type=float, default=0.04)
    parser.add_argument("--gpu-price", type=float, default=2.5)
    asked = parser.parse_args()
    result = paths.named(asked.result, "the result")
    check_new(result)
    if asked.measure:
        from cluster_costs import measured

        write_file(result, json.dumps(measured(asked.space), indent=1).encode())
        return
    if None in (asked.page, asked.costs, asked.times):
        parser.error("PAGE.md, --costs and --times are needed, or --measure")
    page = paths.named(asked.page, "the page")
    picture = page.with_suffix(".png")
    for path in (page, picture):
        check_new(path)
    found = simulated(asked)
    write_file(result, json.dumps(found, indent=1).encode())
    figure = Figure(
        picture.name, png(drawing(found)), "Efficiency and hours against workers, and where seconds go"
    )
    write_file(picture, figure.png)
    write_file(page, markdown.render(document(found, figure)).encode())


# --- what is simulated -------------------------------------------------------------------------------


def simulated(asked: argparse.Namespace) -> dict[str, Any]:
    """Plain: what went in, a row per scenario and number of workers, and what a real run says of it."""
    costs = strict_json.parse(paths.read(asked.costs, "the costs"), f"the costs {asked.costs}", DataError)
    job, driver = job_of(asked, asked.times), driver_of(costs)
    fleet = Fleet(1, per_node=PER_NODE, start_seconds=costs["start_seconds"], hires=HIRES)
    rows = []
    for name, (own_job, own_fleet, own_driver, least) in scenarios(asked, job, fleet, driver).items():
        price = asked.gpu_price if name == GPU else asked.price * own_fleet.threads
        faulty = own_fleet.node_life < float("inf")
        for workers in FAULTY if faulty else WORKERS:
            if least <= workers <= asked.most:
                there = replace(own_fleet, workers=workers)
                rows.append(row(name, there, simulate(own_job, there, own_driver), price))
                say(f"{name}, {workers:,} workers: {rows[-1]['hours']:.2f} h, {rows[-1]['efficiency']:.0%}")
    return {
        "command": shlex.join(["python", *sys.argv]),
        "costs": costs,
        "times": str(asked.times),
        "gpu_times": asked.gpu_times and str(asked.gpu_times),
        "job": asdict(job),
        "driver": asdict(driver),
        "images": asked.images,
        "price": asked.price,
        "gpu_price": asked.gpu_price,
        "rows": rows,
        "runs": [beside(run, driver) for run in costs["runs"]],
        "shortened": shortened(job, fleet, driver),
    }


def scenarios(
    asked: argparse.Namespace, job: Job, fleet: Fleet, driver: Driver
) -> dict[str, tuple[Job, Fleet, Driver, int]]:
    """By name: job, fleet and driver, and from how many workers on they are looked at."""
    faults = replace(
        fleet, node_life=3600 * TAKEN, worker_life=3600 * DIES, hangs=HANGS, slow=SLOW, node_seconds=ANOTHER
    )
    long, together = replace(job, unit_seconds=20.0), replace(job, group=10 * job.group)
    found = {
        AS_IT_IS: (job, fleet, driver, 1),
        "machines come and go": (job, faults, driver, 10),
        "one result per look": (job, fleet, replace(driver, all_at_once=False), 100),
        "driver at a third": (job, fleet, replace(driver, unit=driver.unit / 3), 100),
        "units of 20 s": (long, fleet, driver, 100),
        f"groups of {together.group}": (together, fleet, driver, 100),
        BROAD: (job, replace(fleet, threads=16, per_node=1), driver, 1),
    }
    if asked.gpu_times is not None:
        own = job_of(asked, asked.gpu_times)
        found[GPU] = own, replace(fleet, per_node=8), driver, 1
    return found


def job_of(asked: argparse.Namespace, times: Path) -> Job:
    """The job with passes and preparing as they were measured there; passes in proportion to images."""
    passes = [
        row
        for row in read(times)["rows"]
        if row["part"] == "passes" and row["contender"] == "native" and row["space"] == asked.space
    ]
    found = next((row for row in passes if row["kind"] == "one-hot"), passes[0] if passes else None)
    if found is None:
        raise DataError(f"{times} has no passes of native in {asked.space}")
    threads = 1 if found["device"] != "cpu" else found["threads"]
    space, data = get_space(asked.space), load("gaussian", resolution=32)
    graph = space.supernet(space.macro_for(data, channels=None, cells=None))
    environment = draw_environments(data, count=1, images=asked.images, init="gaussian", seed=0)[0]
    each = COPIES * weight_bytes(graph) + environment.batch.images.nbytes
    return Job(
        asked.masks,
        asked.environments,
        BATCH,
        pass_seconds=statistics.median(found["seconds"]) * threads * asked.images / found["images"],
        prepare_seconds=found["prepare_seconds"],
        kept=max(1, min(PREPARED, ROOM // each)),
        mask_bytes=space.mixture().nbytes,
        value_bytes=8.0,
        environment_bytes=len(pickle.dumps(environment)),
    )


def driver_of(costs: dict[str, Any]) -> Driver:
    """As it was measured: a unit's seconds have one look in them; a look goes twice through two references
    of every worker."""
    return Driver(
        unit=costs["unit_seconds"] + costs["cutting_seconds"],
        worker=costs["worker_seconds"] + 4 * costs["reference_seconds"],
        beat=costs["beat_seconds"],
        link=LINK,
    )


def row(name: str, fleet: Fleet, found: Outcome, price: float) -> Row:
    """price: of a worker for an hour."""
    hours = found.seconds / 3600
    spent = found.seconds * fleet.workers
    shares = {
        "passes": found.efficiency(fleet.workers),
        "preparing": found.preparing / spent,
        "lost": found.lost / spent,
    }
    return {
        "scenario": name,
        "workers": fleet.workers,
        "hours": hours,
        "efficiency": shares["passes"],
        "shares": shares | {"waiting": max(0.0, 1 - sum(shares.values()))},
        "worker_hours": hours * fleet.workers,
        "price": hours * fleet.workers * price,
        "units": found.units,
        "repeated": found.repeated,
        "driver_busy": found.driver_busy,
        "messages": found.messages,
        "moved": found.moved,
        "simulated": found.simulated,
    }


def beside(run: Row, driver: Driver) -> Row:
    """A real run, and the simulation of it with its own seconds of passes and of preparing."""
    job = Job(
        run["masks"],
        run["environments"],
        run["group"],
        pass_seconds=run["pass_seconds"],
        prepare_seconds=run["prepare_seconds"],
        kept=PREPARED,
    )
    found = simulate(job, Fleet(run["workers"]), driver, whole=True)
    return run | {"simulated": found.seconds, "ratio": found.seconds / run["seconds"]}


def shortened(job: Job, fleet: Fleet, driver: Driver) -> Row:
    """How far the simulation of a part is from that of the whole, where there are many units."""
    job, fleet = replace(job, masks=max(1, job.masks // 10)), replace(fleet, workers=300)
    part, whole = (simulate(job, fleet, driver, whole=whole) for whole in (False, True))
    return {"workers": 300, "part": part.simulated, "ratio": part.seconds / whole.seconds}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- the page ----------------------------------------------------------------------------------------


def document(data: dict[str, Any], figure: Figure) -> Document:
    job = data["job"]
    title = f"{job['masks']:,} masks x {job['environments']} environments on 1 to {most(data):,} workers"
    return Document(
        title,
        [
            figure,
            Heading("As it is", 2),
            curve(data, AS_IT_IS),
            Heading("What moves the end of scaling", 2),
            ends(data),
            Heading("How it was made", 2),
            Notes(tuple(_notes(data))),
        ],
        data,
    )


def most(data: dict[str, Any]) -> int:
    return max(each["workers"] for each in data["rows"])


def of(data: dict[str, Any], scenario: str) -> list[Row]:
    return [each for each in data["rows"] if each["scenario"] == scenario]


def curve(data: dict[str, Any], scenario: str) -> Table:
    """A row per number of workers."""
    cells = [
        [
            f"{each['workers']:,}",
            f"{each['hours']:,.2f}",
            f"{each['efficiency']:.0%}",
            f"{each['shares']['preparing']:.0%}",
            f"{each['shares']['waiting']:.0%}",
            f"{each['worker_hours']:,.0f}",
            f"{each['price']:,.0f}",
            f"{each['units']:,.0f}",
            f"{each['messages']:,.1f}",
            f"{each['driver_busy']:.1%}",
            f"{each['moved']['environments'] / 1e9:,.2f}",
            f"{(each['moved']['masks'] + each['moved']['values']) / 1e9:,.1f}",
        ]
        for each in of(data, scenario)
    ]
    names = ["workers", "hours", "passes", "preparing", "waiting", "worker-hours", "$", "units"]
    return Table([*names, "messages/s", "driver busy", "GB of environments", "GB of masks and values"], cells)


def last_that_scales(rows: Sequence[Row]) -> int:
    """The most workers that keep `SCALES` of the efficiency of the fewest that have ten or more."""
    known = [each for each in rows if each["workers"] >= 10] or rows
    return max(each["workers"] for each in known if each["efficiency"] >= SCALES * known[0]["efficiency"])


def ends(data: dict[str, Any]) -> Table:
    """A row per scenario: how far it scales, and what the most workers make of it."""
    cells = []
    for name in dict.fromkeys(each["scenario"] for each in data["rows"]):
        rows = of(data, name)
        last = rows[-1]
        cells.append(
            [
                name,
                f"{last_that_scales(rows):,}",
                f"{last['workers']:,}",
                f"{last['hours']:.2f}",
                f"{last['efficiency']:.0%}",
                f"{last['shares']['preparing']:.0%}",
                f"{last['shares']['lost']:.1%}",
                f"{last['shares']['waiting']:.0%}",
                f"{last['repeated']:,.0f}",
                f"{last['price']:,.0f}",
                f"{last['driver_busy']:.0%}",
            ]
        )
    names = ["", "scales to", "workers", "hours", "passes", "preparing", "lost", "waiting", "repeated units"]
    return Table([*names, "$", "driver busy"], cells, left=(0,))


def _notes(data: dict[str, Any]) -> Iterator[str]:
    job, driver, costs = data["job"], data["driver"], data["costs"]
    yield (
        f"a pass over {data['images']} images takes {job['pass_seconds']:.3f} s of one thread, preparing an "
        f"environment {job['prepare_seconds']:.2f} s, of which a worker keeps {job['kept']}: {data['times']}"
        + (f", for a GPU {data['gpu_times']}" if data["gpu_times"] else "")
        + "; passes were measured over more images and are taken to be in proportion to them"
    )
    yield (
        f"units are cut by the engine's own `Cutter`, of {job['unit_seconds']:.0f} s and smaller at the end, "
        f"from groups of {job['group']} masks, which is what `score` and `reproduce correlation` measure at "
        "once; passes: the share of workers' seconds that went into these"
    )
    yield (
        f"measured on {costs['machine']['model']}, {costs['machine']['cores']} cores, Ray "
        f"{costs['versions']['ray']}: a unit costs the driver's process {1e6 * driver['unit']:.0f} us, a "
        f"question whether a worker works {1e6 * driver['beat']:.0f} us, a look at what "
        f"arrived {1e6 * driver['worker']:.1f} us per worker; one is there after "
        f"{costs['start_seconds']:.1f} s; "
        f"{costs['load']:.1f} processes wanted a core, so that these are high rather than low"
    )
    yield (
        f"assumed, not measured: {PER_NODE} workers of one thread per node, or one of 16, or 8 with a GPU "
        f"each; {HIRES:.0f} workers started per second; a link of {8 * LINK / 1e9:.0f} Gbit/s from the "
        "driver's node, over which each node fetches each environment once "
        f"({job['environment_bytes'] / 1e6:.2f} MB); ${data['price']} for a core and ${data['gpu_price']} "
        "for a GPU per hour"
    )
    yield (
        f"machines come and go: one is taken away every {TAKEN:.0f} h on average and replaced after "
        f"{ANOTHER:.0f} s, a worker dies every {DIES:.0f} h, {HANGS:.0%} of these hang until that is "
        f"noticed, {SLOW:.0%} of the machines take twice as long"
    )
    yield from _ways(data)
    yield f"made by `{data['command']}`"


def _ways(data: dict[str, Any]) -> Iterator[str]:
    """What the numbers mean, and how far they are to be believed."""
    unit, short, first = data["driver"]["unit"], data["shortened"], of(data, AS_IT_IS)[0]
    length = first["worker_hours"] * 3600 / first["units"]
    yield (
        f"scales to: the most workers that keep {SCALES:.0%} of the efficiency of ten. The driver is one "
        f"process, and can serve {1 / unit:,.0f} units per second at most; with units of {length:.1f} s, as "
        f"one worker gets them, that is {length / unit:,.0f} workers. Both numbers move that point in "
        "proportion"
    )
    yield (
        f"of long jobs {LONG} units per worker are simulated, and what lies between the beginning and the "
        f"end goes on as their middle half did; with {short['workers']} workers {short['part']:.0%} of the "
        f"units gave {short['ratio']:.3f} of the seconds of all; short parts prepare more per pass, so that "
        "shares sum to up to 102 %"
    )
    for run in data["runs"]:
        yield (
            f"a real run, {run['masks']} masks x {run['environments']} environments over {run['images']} "
            f"images on {run['workers']} worker{'s' * (run['workers'] > 1)}: {run['seconds']:.1f} s; "
            f"simulated, with its own seconds of a pass, {run['simulated']:.1f} s, a ratio of "
            f"{run['ratio']:.2f}"
        )
    yield (
        "nothing here ran on more than one machine: what a network, a scheduler or thousands of processes "
        "do to Ray itself is not in it"
    )


@style()
def drawing(data: dict[str, Any]) -> Any:
    """Efficiency and hours against workers per scenario, and where workers' seconds go as it is."""
    drawn, (panels,) = canvas(1, 3, width=16, height=4.6)
    efficient, long, shares = panels
    names = list(dict.fromkeys(each["scenario"] for each in data["rows"]))
    for place, name in enumerate(names):
        rows = of(data, name)
        xs = [each["workers"] for each in rows]
        look = {"color": SERIES[place % len(SERIES)], "marker": "os^Dv<>p*"[place % 9], "markersize": 4}
        efficient.plot(xs, [each["efficiency"] for each in rows], label=name, **look)
        long.plot(xs, [each["hours"] for each in rows], **look)
    for axes in (efficient, long, shares):
        plain_logarithmic(axes, "x", *decades([each["workers"] for each in data["rows"]], 1))
        axes.set_xlabel("workers")
        axes.grid()
    efficient.set(ylabel="share of workers' seconds in passes", ylim=(0, 1))
    plain_logarithmic(long, "y", *decades([each["hours"] for each in data["rows"]], 1e-6))
    long.set_ylabel("hours")
    rows = of(data, AS_IT_IS)
    kinds = [kind for kind in rows[0]["shares"] if any(each["shares"][kind] > 0 for each in rows)]
    stacked = [[each["shares"][kind] for each in rows] for kind in kinds]
    colours = [SERIES[(len(names) + k) % len(SERIES)] for k in range(len(kinds))]
    shares.stackplot([each["workers"] for each in rows], stacked, labels=kinds, colors=colours, alpha=0.8)
    shares.set(ylabel="share of workers' seconds, as it is", ylim=(0, 1))
    legend(drawn, columns=5)
    return drawn


if __name__ == "__main__":
    one_line(main)
