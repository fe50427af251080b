"""`make torture`: see the package."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import track

from tests.torture.account import Account, table
from tests.torture.fuzz import fuzz
from tests.torture.inputs import KINDS
from tests.torture.kills import kill
from tests.torture.machines import SITUATIONS, trouble

PAGE = """# The torture test

`make torture`, seed {seed}, {seconds:.0f} s on {cores} cores of {machine}, at commit {commit}.

What is tried: fuzzed inputs of every reader, each in a process that may hang or crash; SIGKILL at random
moments, after which the same command is given again; and machines that nobody wishes for. *Right* is what an
untroubled run gives, or what an independent reading of the input confirms. *Refused* is one printable line
and exit code 2 (for signals: their exit code). All else is wrong.

{table}
{remarks}"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=20_000, help="fuzzed inputs, of all kinds together")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1200.0, help="no new trial begins after so long")
    parser.add_argument("--only", action="append", help="one kind, by its name; may be given again")
    parser.add_argument("--out", type=Path, help="a page of the table")
    asked = parser.parse_args()
    began = time.monotonic()
    until = began + asked.seconds
    cache = tempfile.TemporaryDirectory(prefix="znas-torture-", ignore_cleanup_errors=True)
    os.environ["ZNAS_CACHE"] = cache.name
    console = Console(stderr=True)

    def wanted(name: str) -> bool:
        return asked.only is None or name in asked.only

    kinds = [name for name in KINDS if wanted(name)]
    weights = sum(kind.weight for kind in KINDS.values())
    accounts: list[Account] = []
    with ThreadPoolExecutor(2) as pool:  # each waits for a process; two cores are what we have
        jobs = [
            pool.submit(
                fuzz, kind, seed=asked.seed, count=asked.inputs * KINDS[kind].weight // weights, until=until
            )
            for kind in kinds
        ]
        for job in track(jobs, "fuzzed inputs", console=console, transient=True):
            accounts.append(job.result())
    if wanted("kills"):
        accounts += kill(seed=asked.seed, kills=asked.kills, until=until)
    for name in track(
        [name for name in SITUATIONS if wanted(name)], "machines", console=console, transient=True
    ):
        if time.monotonic() < until:
            accounts.append(trouble(name, seed=asked.seed))
        else:
            accounts.append(Account(name, remark="not tried: time was up"))
    print(table(accounts))
    for account in accounts:
        for line in account.wrong[:5]:
            print(f"wrong, {account.kind}: {line}")
    remarks = [f"* {account.kind}: {account.remark}" for account in accounts if account.remark]
    print("\n".join(remarks))
    if asked.out is not None:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        ).stdout.strip()
        page = PAGE.format(
            seed=asked.seed,
            seconds=time.monotonic() - began,
            cores=os.cpu_count(),
            machine=_machine(),
            commit=commit or "unknown",
            table=table(accounts),
            remarks="\n".join(["", *remarks, ""] if remarks else []),
        )
        asked.out.write_text(page, encoding="utf-8")
    cache.cleanup()
    sys.exit(any(account.wrong for account in accounts))


def _machine() -> str:
    from znas.bench.machine import machine

    return str(machine()["model"])


if __name__ == "__main__":
    main()
