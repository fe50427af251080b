"""bench/ptxas_facts.py reads what the compiler of the GPU kernels says; a recorded piece of it."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ours

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "bench" / "ptxas_facts.py"

IN_CUDA = "znas::cuda::(anonymous namespace)::"
MOMENTS = f"void {IN_CUDA}moments_of_image<znas::cuda::Float16>(znas::cuda::Pass, znas::cuda::Plane, double*)"
SUMS = f"void {IN_CUDA}sums_of<znas::cuda::Float16, 1, 8, false, 4>(znas::cuda::Pass, znas::cuda::Wave)"
CHOOSE = f"{IN_CUDA}choose(int const*, unsigned char const*, int, int*)"

OUTPUT = f"""\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '{MOMENTS}' for 'sm_90'
ptxas info    : Function properties for {MOMENTS}
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 16384 bytes smem
ptxas info    : Compile time = 89.318 ms
ptxas info    : Compiling entry function '{SUMS}' for 'sm_90'
ptxas info    : Function properties for {SUMS}
    24 bytes stack frame, 22 bytes spill stores, 59 bytes spill loads
ptxas info    : Function properties for __internal_trig_reduction_slowpath
    40 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 128 registers, used 0 barriers, 24 bytes cumulative stack size
ptxas info    : Compiling entry function '{CHOOSE}' for 'sm_80'
ptxas info    : Function properties for {CHOOSE}
    0 bytes stack frame, 4 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers, 400 bytes cmem[0]
"""


@pytest.fixture(scope="module")
def facts():
    spec = importlib.util.spec_from_file_location("ptxas_facts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_numbers_of_every_kernel(facts):
    assert list(facts.kernels(OUTPUT)) == [
        facts.Kernel("moments_of_image<Float16>", "sm_90", registers=40, shared=16384),
        facts.Kernel(
            "sums_of<Float16, 1, 8, false, 4>", "sm_90", registers=128, stores=22, loads=59, stack=24
        ),
        facts.Kernel("choose", "sm_80", registers=12, stores=4),
    ]


def test_more_spilled_bytes_than_the_limit_are_marked(facts):
    few, many, unnamed = facts.kernels(OUTPUT)
    assert (few.limit, unnamed.limit) == (0, 0)
    assert many.spilled == many.limit + 1
    marked = [line.split()[1] for line in facts.table([few, many, unnamed]).splitlines() if "<--" in line]
    assert marked == ["sums_of<Float16,", "choose"]


def test_what_a_build_said_is_kept_beside_its_objects(facts, tmp_path, monkeypatch):
    """By a compiler that says what nvcc said; its own warnings go on to whoever builds."""
    monkeypatch.setattr(facts, "sources", lambda: [Path("sums.cu")])
    with pytest.raises(SystemExit, match=r"must have one sums\.cu\.o\.ptxas but has 0"):
        facts.built(tmp_path, "sm_90")
    said = "sums.cu(3): warning #1: odd\n" + OUTPUT
    nvcc = tmp_path / "nvcc.py"
    nvcc.write_text(f"import sys; assert sys.argv[-2:] == ['-Xptxas', '-v']; sys.stderr.write({said!r})")
    command = [sys.executable, nvcc, "-c", "sums.cu", "-o", tmp_path / "sums.cu.o"]
    made = subprocess.run([sys.executable, SCRIPT, "--launch", *command], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert made.stderr.strip() == "sums.cu(3): warning #1: odd"
    assert [kernel.arch for kernel in facts.built(tmp_path, "sm_90")] == ["sm_90", "sm_90"]
    kept = tmp_path / "sums.cu.o.ptxas"
    first = OUTPUT.index("ptxas info    : Compiling")
    kept.write_text(OUTPUT[first:].partition("\n")[0] + "\n" + OUTPUT[first:])
    with pytest.raises(SystemExit, match="at the same time"):
        facts.built(tmp_path, "sm_90")
    kept.write_text(OUTPUT)
    with pytest.raises(SystemExit, match="names no kernel for sm_86"):
        facts.built(tmp_path, "sm_86")


def test_no_source_asks_which_gpu_it_is_compiled_for():
    """`make cuda` compiles for the oldest and the newest GPU, which then stand for those between."""
    for source in (ROOT / "csrc").rglob("*"):
        if source.is_file():
            asking = [line for line in source.read_text("utf-8").splitlines() if "__CUDA_ARCH" in line]
            assert set(asking) <= {"#ifdef __CUDA_ARCH__"}, source
    (every,) = re.findall(
        r'set\(CMAKE_CUDA_ARCHITECTURES "(.*)"\)', (ROOT / "CMakeLists.txt").read_text("utf-8")
    )
    made = (ROOT / "Makefile").read_text("utf-8")
    (oldest,) = re.findall(r"-arch=sm_(\d+)", made)
    (newest,) = re.findall(r"-DCMAKE_CUDA_ARCHITECTURES=(\S+)", made)
    assert [f"{oldest}-real", newest] == [every.split(";")[0], every.split(";")[-1]]
