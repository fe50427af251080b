"""Where and what was measured: processor, versions, commit, and the suite's own code."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from znas_engine import __version__, kernels
from znas_engine.cores import available_cores
from znas_engine.gpu import gpu

PACKAGES = ("numpy", "torch", "onnx", "onnxruntime")
#: The flags of /proc/cpuinfo that decide how fast a masked pass can be.
ISA_PREFIXES = ("avx", "amx", "fma", "f16c", "bf16", "sve", "asimd")


def machine(device: str = "cpu") -> dict[str, Any]:
    """The processor by the names that /proc/cpuinfo gives it, and what the engine makes of it; the GPU that
    the device is, if it is one."""
    facts = _cpuinfo()
    model = facts.get("model name") or platform.processor() or platform.machine()
    return {
        "model": model,
        "family": facts.get("cpu family"),
        "number": facts.get("model"),
        "cores": available_cores(),
        "flags": isa_flags(),
        "isas": list(kernels.available_isas()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    } | ({} if device == "cpu" else {"gpu": asdict(gpu(device))})


def result_path(device: str = "cpu") -> Path:
    """MACHINE/COMMIT.json: model, family and number of the processor, its cores, or the name of the GPU;
    seven digits of the commit (the version where there is none), -dirty as in `kernels.commit`."""
    facts = machine(device)
    processor = [facts["model"], facts["family"], facts["number"], facts["cores"], "cores"]
    parts = [facts["gpu"]["name"]] if "gpu" in facts else processor
    words = " ".join(str(part) for part in parts if part is not None)
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    return Path(name) / f"{short(kernels.commit()) or __version__}.json"


def short(full: str | None) -> str | None:
    """Seven digits of a commit, and whether files differed from it."""
    return None if full is None else full[:7] + ("-dirty" if full.endswith("-dirty") else "")


def isa_flags() -> list[str]:
    facts = _cpuinfo()
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return sorted(flag for flag in flags if flag.startswith(ISA_PREFIXES))


def load_average() -> float | None:
    """Processes that wanted a core over the last minute: what else the machine was doing."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def versions() -> dict[str, str]:
    found = {"znas-engine": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def suite_version() -> str:
    """A hash of this package's files: results of different suites are not comparable."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is none."""
    try:
        block = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in block.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}
