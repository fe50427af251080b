"""Registers, spills, stack and shared memory of every GPU kernel; the compiler tells them, without a GPU.

    python bench/ptxas_facts.py [--arch sm_90 ...] [--check] [--built build/cuda]

--built: of what was compiled in that folder, with `bench/ptxas_facts.py --launch` before every nvcc (CMake's
CMAKE_CUDA_COMPILER_LAUNCHER), instead of compiling here: what ptxas said lies beside every object.
--check: exit 1 where a kernel spills more than LIMITS allows. Registers need no limit: the compiler gives a
kernel no more of them than its launch bounds leave, and spills the rest.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHS = ("sm_80", "sm_86", "sm_89", "sm_90")

#: Kernels, GPU (any where empty), most bytes that a thread spills (stores + loads). The first line that fits
#: both holds; a kernel that none fits may not spill at all.
LIMITS = (
    (r"sums_of<Float16, 1, 8, false, ", "", 80),
    (r"sums_of<Float32, 1, 8, ", "", 550),
    (r"sums_of<", "sm_90", 0),
    (r"sums_of<BFloat16, 2, ", "", 150),
    (r"sums_of<Float32, 4, ", "", 950),
)

# A demangled name has spaces and quotes of its own: the architecture is what stands last.
ENTRY = re.compile(r"Compiling entry function '(?P<name>.*)' for '(?P<arch>\w+)'$")
STACK = re.compile(
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill"
)
#: Lines that only `-Xptxas -v` prints.
OF_PTXAS = re.compile(r"ptxas info\s+:|\s+\d+ bytes stack frame,")
USED = re.compile(r"Used (?P<registers>\d+) registers(?:.*?, (?P<shared>\d+) bytes smem)?")


@dataclass
class Kernel:
    """One kernel on one GPU; the numbers are per thread, `shared` bytes per block of threads."""

    name: str
    arch: str
    registers: int = 0
    stores: int = 0
    loads: int = 0
    stack: int = 0
    shared: int = 0

    @property
    def spilled(self) -> int:
        return self.stores + self.loads

    @property
    def limit(self) -> int:
        found = (
            most for name, arch, most in LIMITS if re.search(name, self.name) and arch in ("", self.arch)
        )
        return next(found, 0)


def short_name(demangled: str) -> str:
    """The kernel with its template arguments, without namespaces, result and parameters."""
    text = re.sub(r"\(anonymous namespace\)::|\bznas::cuda::", "", demangled).removeprefix("void ")
    return text.partition("(")[0]


def kernels(output: str) -> Iterator[Kernel]:
    """What `nvcc -Xptxas -v` said, after c++filt; a device function that is no kernel is left out."""
    kernel, of_kernel = None, False
    for line in output.splitlines():
        if entry := ENTRY.search(line):
            kernel = Kernel(short_name(entry["name"]), entry["arch"])
            of_kernel = False
        elif "Function properties for" in line:
            of_kernel = kernel is not None and short_name(line.partition(" for ")[2]) == kernel.name
        elif kernel is not None and of_kernel and (stack := STACK.search(line)):
            kernel.stack, kernel.stores, kernel.loads = (int(number) for number in stack.groups())
        elif kernel is not None and (used := USED.search(line)):
            kernel.registers, kernel.shared = int(used["registers"]), int(used["shared"] or 0)
            yield kernel
            kernel = None


def launch(command: list[str]) -> int:
    """Runs `nvcc ... -o OBJECT`; what ptxas says goes to OBJECT.ptxas, the rest where it would have gone."""
    made = subprocess.run([*command, "-Xptxas", "-v"], stderr=subprocess.PIPE, text=True, check=False)
    sys.stderr.writelines(line for line in made.stderr.splitlines(keepends=True) if not OF_PTXAS.match(line))
    if made.returncode == 0:
        Path(command[command.index("-o") + 1] + ".ptxas").write_text(made.stderr, encoding="utf-8")
    return made.returncode


def built(folder: Path, arch: str) -> list[Kernel]:
    """Of all sources, which must have been compiled there for that GPU: with no object nothing is checked."""
    found = []
    for source in sources():
        said = list(folder.rglob(f"{source.name}.o.ptxas"))
        if len(said) != 1:
            sys.exit(
                f"{folder} must have one {source.name}.o.ptxas but has {len(said)}: build it with --launch"
            )
        text = demangled(said[0].read_text("utf-8"))
        every = list(kernels(text))
        if len(every) != text.count("Compiling entry function"):
            sys.exit(f"{said[0]} mixes kernels up: they were compiled at the same time")
        own = [kernel for kernel in every if kernel.arch == arch]
        if not own:
            sys.exit(f"{said[0]} names no kernel for {arch}")
        found += own
    return found


def sources() -> list[Path]:
    return sorted((ROOT / "csrc/src/cuda").glob("*.cu"))


def demangled(said: str) -> str:
    return subprocess.run(["c++filt"], input=said, capture_output=True, text=True, check=True).stdout


def compiled(source: Path, arch: str) -> list[Kernel]:
    includes = ["-I", str(ROOT / "csrc/include"), "-I", str(ROOT / "csrc/src/native")]
    with tempfile.TemporaryDirectory() as folder:
        nvcc = ["nvcc", "-c", "-O3", "-std=c++20", f"-arch={arch}", "-Xptxas", "-v", *includes]
        made = subprocess.run(
            [*nvcc, "-o", str(Path(folder) / "out.o"), str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
    if made.returncode != 0:
        sys.exit(made.stderr)
    return list(kernels(demangled(made.stderr)))


def table(found: list[Kernel]) -> str:
    width = max(len(kernel.name) for kernel in found)
    lines = [
        f"{'GPU':6}{'kernel':{width}}{'registers':>11}{'stores':>8}{'loads':>7}{'stack':>7}{'shared':>8}{'limit':>7}"
    ]
    for k in found:
        mark = " <-- spills too much" if k.spilled > k.limit else ""
        lines.append(
            f"{k.arch:6}{k.name:{width}}{k.registers:11}{k.stores:8}{k.loads:7}{k.stack:7}{k.shared:8}{k.limit:7}{mark}"
        )
    return "\n".join(lines)


def main() -> int:
    if sys.argv[1:2] == ["--launch"]:
        return launch(sys.argv[2:])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--arch", action="append", choices=ARCHS, help="one of the GPUs; all of them if not given"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 where a kernel spills too much")
    parser.add_argument("--built", type=Path, help="a folder that was built with --launch")
    chosen = parser.parse_args()
    found: list[Kernel] = []
    for arch in chosen.arch or ARCHS:
        if chosen.built:
            found += built(chosen.built, arch)
        else:
            found += (kernel for source in sources() for kernel in compiled(source, arch))
    found.sort(key=lambda kernel: (kernel.arch, kernel.name))
    print(table(found))
    return 1 if chosen.check and any(kernel.spilled > kernel.limit for kernel in found) else 0


if __name__ == "__main__":
    sys.exit(main())
