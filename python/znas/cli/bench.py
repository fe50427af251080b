"""`znas-engine bench`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from znas.cli.console import finish, progress_bar
from znas.cli.options import Json, Quiet, asks, check_read, path
from znas.request import Request
from znas_engine.data import implied

if TYPE_CHECKING:
    from znas.bench.plan import Plan

Spaces = Annotated[list[str] | None, typer.Option("--space", help="Repeatable; all spaces by default.")]
Contenders = Annotated[
    list[str] | None, typer.Option("--backend", help="A contender, repeatable; all of the device by default.")
]
Kinds = Annotated[
    list[str] | None, typer.Option("--masks", help="do | one-hot | mixture; repeatable, all by default.")
]
Parts = Annotated[
    list[str] | None,
    typer.Option(
        "--part", help="peak | passes | scaling | start | search | instant; repeatable, all by default."
    ),
]


Quick = Annotated[bool, typer.Option("--quick", help="About two minutes: few rows, few and small samples.")]
Images = Annotated[
    list[int] | None, typer.Option("--images", help="Images per pass; repeatable, 64 by default.")
]
Threads = Annotated[
    list[int] | None, typer.Option("--threads", help="Repeatable; 1 and all cores by default.")
]
MasksPerCall = Annotated[
    int | None, typer.Option(help="Masks per timed call, in batches where a contender takes them.")
]
Rounds = Annotated[int | None, typer.Option(help="Timed calls per row of passes.")]
Device = Annotated[str, typer.Option(help="Where all contenders run: cpu | cuda:N.")]
Out = Annotated[
    Path | None,
    typer.Option(
        parser=path,
        help="New FILE.json for the raw samples, or a folder that gets MACHINE/COMMIT.json; a killed run "
        "goes on where it stopped.",
    ),
]


@asks("data", "data_dir", "supernet_channels", "supernet_cells", "resolution")
def bench(
    request: Request,
    quick: Quick = False,
    part: Parts = None,
    space: Spaces = None,
    backend: Contenders = None,
    masks: Kinds = None,
    images: Images = None,
    threads: Threads = None,
    masks_per_call: MasksPerCall = None,
    rounds: Rounds = None,
    device: Device = "cpu",
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure what masked passes, starts and whole searches cost here, beside what people use instead.

    Contenders: eager, eager-nhwc, eager-fp16-nhwc and compile (the supernet as NAS code bases write it;
    ratios are to eager), graph (eager in CUDA graphs), ort (ort-ready: sessions made before; ort-whole:
    never pruned), torch (the reference), native, native-bf16, native-fp16, trt, trt-bf16, trt-fp16, as far
    as the device has them. Each is first checked against the reference on the processor; one that fails
    gets no time, but for eager-fp16-nhwc, whose values leave float16's range. They take turns.

    \b
    Examples:
      znas-engine bench --quick
      znas-engine bench --out bench/results
      znas-engine bench --device cuda:0 --images 256 \\
        --threads 1 --masks-per-call 16 --out bench/results
      znas-engine bench --part passes --space darts \\
        --backend eager --backend native --masks do
    """
    repeated = {
        "parts": part,
        "spaces": space,
        "contenders": backend,
        "kinds": masks,
        "images": images,
        "threads": threads,
    }
    chosen: dict[str, Any] = {
        name: tuple(dict.fromkeys(values)) for name, values in repeated.items() if values
    }
    numbers = {"masks": masks_per_call, "rounds": rounds}
    chosen |= {name: number for name, number in numbers.items() if number is not None}
    plan = _plan(request, chosen, device, quick=quick)
    if "passes" not in plan.parts:
        check_read(bench, "is of the table of passes: pass --part passes too", masks=masks)
        if "scaling" not in plan.parts:
            check_read(
                bench,
                "is of passes: pass --part passes too",
                masks_per_call=masks_per_call,
                rounds=rounds,
            )
    _run(plan, out, as_json=as_json, quiet=quiet)


def _plan(request: Request, chosen: dict[str, Any], device: str, *, quick: bool) -> Plan:
    """chosen: fields of a `Plan` that were given."""
    from znas.bench.plan import QUICK, Plan, quick_contenders

    usual = QUICK | {"contenders": quick_contenders(device)} if quick else {}
    return Plan(
        **(usual | chosen),
        data=request.data or implied(request.data_dir),
        data_dir=None if request.data_dir is None else str(request.data_dir),
        channels=request.supernet_channels,
        cells=request.supernet_cells,
        resolution=request.resolution,
        device=device,
    )


def _run(plan: Plan, out: Path | None, *, as_json: bool, quiet: bool) -> None:
    from znas.bench.machine import result_path
    from znas.bench.process import scratch
    from znas.bench.suite import run
    from znas.bench.tables import summary
    from znas.files import check_new, work_file, write_file

    if out is not None and out.suffix != ".json":
        out = out / result_path(plan.device)
    if out is not None:
        check_new(out)

    def store(document: dict[str, Any]) -> None:
        """Written and printed, or printed and refused; the work file goes after it."""
        page = summary(document)
        finish(
            json.dumps(document) if as_json else page,
            None if out is None else lambda: write_file(out, page.json().encode()),
            out,
        )

    with scratch() as folder:
        work = work_file(out or folder / "result.json")
        with progress_bar("timed steps", quiet=quiet) as progress:
            run(plan, work, store=store, progress=progress)
