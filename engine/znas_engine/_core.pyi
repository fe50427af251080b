"""The compiled kernels: private, see znas_engine.kernels for the contracts.

Arrays come in through the buffer protocol or DLPack, from host memory, C-contiguous; ValueError
otherwise. Every function lets go of the interpreter while it computes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

commit: str

def available_isas() -> tuple[str, ...]: ...
def count_correct(logits: Any, labels: Any, threads: int, isa: str) -> NDArray[np.int64]: ...
def pack_codes(activations: Any, threads: int, isa: str) -> NDArray[np.uint64]: ...
def code_gram(codes: Any, bits: int, threads: int, isa: str) -> NDArray[np.int64]: ...
