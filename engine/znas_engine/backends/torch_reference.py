"""The supernet in plain PyTorch: slow, obvious, and what every other backend is checked against."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from znas_engine import kernels
from znas_engine.backends.checks import check_masks
from znas_engine.backends.passes import Images, MaskedPass
from znas_engine.backends.records import TORCH
from znas_engine.backends.torch_errors import device_errors
from znas_engine.backends.workers import Workers
from znas_engine.devices import kind_of
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError, NonFiniteScoreError
from znas_engine.evaluator import Evaluator
from znas_engine.graph import Concat, Conv, Linear, Mixed
from znas_engine.scores import CodeSite, HostCodes, Observation
from znas_engine.spaces import Mask
from znas_engine.supernet.network import Network
from znas_engine.supernet.normalisation import Statistics, chunks


class TorchReference(Evaluator):
    """`--backend torch`: needs neither a compiler nor ONNX. On GPUs, where it has not been run yet, TF32 is
    off: float32 means float32."""

    record = TORCH
    packages = ("torch",)

    def prepare(
        self, environment: Environment, *, norm: str, reads: frozenset[str], device: str
    ) -> MaskedPass:
        network = self.network(environment, norm, device)
        roots = self.graph.cells if "features" in reads else ()
        pooled = {self.graph.penultimate} if "pooled" in reads else set()
        unpooled = {self.graph.unpooled} if "unpooled" in reads else set()

        def run(mask: Mask, images: Images) -> Observation:
            live = self.graph.live(mask)
            sites = self.graph.relu_sites(live) if "codes" in reads else {}
            norms = [i for i in self.graph.norms() if live[i]] if "variances" in reads else []
            codes: dict[int, CodeSite] = {}
            kept: dict[int, Tensor] = {}
            variances: dict[int, Tensor] = {}

            def watch(i: int, value: Tensor) -> None:
                if sites.get(i):
                    packed = kernels.pack_codes(value.flatten(1).contiguous().cpu())
                    codes[i] = CodeSite(packed, value[0].numel(), sites[i])
                if i in roots or i in pooled or i in unpooled:
                    kept[i] = value

            with torch.inference_mode(), device_errors():
                logits = network(
                    mask, torch.from_numpy(images), watch=watch, roots=roots, divided=variances.__setitem__
                )
            return Observation(
                logits.numpy(),
                codes=HostCodes(codes[i] for i in sites if sites[i]),
                pooled=kept[self.graph.penultimate].cpu().numpy() if pooled else None,
                unpooled=kept[self.graph.unpooled].cpu().numpy() if unpooled else None,
                features=tuple(kept[i].cpu().numpy() for i in roots),
                variances=tuple(variances[i].flatten().cpu().numpy() for i in norms),
            )

        return run

    def activations(
        self, mask: Mask, environments: Sequence[Environment], names: Sequence[str]
    ) -> list[dict[str, NDArray[np.float32]]]:
        """Values of the nodes `names` of `graph` under mask [E, O]: per environment, float32 [n, C, H, W].

        Nothing of an environment is kept afterwards. Raises InvalidValueError for a name that the graph does
        not have or whose node the mask cuts off, NonFiniteScoreError for a value that is not finite.
        """
        check_masks(mask[None], self.space)
        known = {node.name: i for i, node in enumerate(self.graph.nodes)}
        live = self.graph.live(mask)
        for name in names:
            if name not in known:
                (near,) = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
                raise InvalidValueError(f"the supernet has no node {name!r}; did you mean {near!r}?")
            if not live[known[name]]:
                raise InvalidValueError(f"the node {name!r} has no value under {self.space.describe(mask)}")
        with self._workers() as workers:
            return list(workers.map(partial(self._watched, mask, {known[n]: n for n in names}), environments))

    def powers(self, environment: Environment, images: Images) -> dict[int, NDArray[np.float64]]:
        """What `Rescale` needs: under the mixture, the mean products of the terms of all sums, by position.

        A concatenation counts as a sum of terms that share nothing.
        """
        nodes = self.graph.nodes
        sums = [i for i, node in enumerate(nodes) if isinstance(node, Mixed | Concat)]
        last_use = {j: i for i in sums for j in nodes[i].inputs}
        seen: dict[int, Tensor] = {}
        found: dict[int, NDArray[np.float64]] = {}

        def watch(i: int, value: Tensor) -> None:
            if i in sums:
                terms = [seen[j].double().flatten() for j in nodes[i].inputs]
                if isinstance(nodes[i], Concat):
                    found[i] = np.diag([float((term @ term) / value.numel()) for term in terms])
                else:
                    stacked = torch.stack(terms)
                    found[i] = (stacked @ stacked.T / value.numel()).cpu().numpy()
                for j in {j for j in nodes[i].inputs if last_use[j] == i}:
                    del seen[j]
            if i in last_use:
                seen[i] = value

        with torch.inference_mode():
            network = self.network(environment, self.norm, self.devices[0])
            network(self.space.mixture(), torch.from_numpy(images), watch=watch)
        return found

    def _watched(
        self, mask: Mask, names: dict[int, str], environment: Environment
    ) -> dict[str, NDArray[np.float32]]:
        network = self.network(environment, self.norm, self.devices[0])
        images = environment.batch.images
        parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names.values()}

        def watch(i: int, value: Tensor) -> None:
            if i in names:
                parts[names[i]].append(value.cpu().numpy())

        with torch.inference_mode():
            for rows in chunks(len(images)):
                network(mask, torch.from_numpy(images[rows]), watch=watch)
        values = {name: np.concatenate(seen) for name, seen in parts.items()}
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise NonFiniteScoreError(f"{name} is not finite under {self.space.describe(mask)}")
        return values

    def network(self, environment: Environment, norm: str, device: str) -> Network:
        if kind_of(device) == "cuda":
            torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
            torch.backends.cuda.matmul.fp32_precision = "ieee"
        weights = {
            i: torch.from_numpy(environment.weight(node)).to(device)
            for i, node in enumerate(self.graph.nodes)
            if isinstance(node, Conv | Linear)
        }
        return Network(self.graph, weights, self._statistics(environment, norm, weights))

    def _statistics(
        self, environment: Environment, norm: str, weights: dict[int, Tensor]
    ) -> Statistics | None:
        if norm == "batch":
            return None
        statistics = Statistics.identity(self.graph)
        if norm == "calibrated":
            norms: dict[int, list[int]] = {}
            for i in self.graph.norms():
                norms.setdefault(self.graph.nodes[i].inputs[0], []).append(i)
            live = self.graph.live(self.space.mixture())

            def measure(i: int, value: Tensor) -> None:
                for norm in norms.get(i, []):
                    if live[norm]:
                        variance, mean = torch.var_mean(value, (0, 2, 3), correction=0)
                        statistics.mean[norm] = mean.cpu().numpy()
                        statistics.variance[norm] = variance.cpu().numpy()

            images = environment.batch.images[chunks(len(environment.batch.images))[0]]
            with torch.inference_mode():
                Network(self.graph, weights, None)(
                    self.space.mixture(), torch.from_numpy(images), watch=measure
                )
        return statistics

    def _workers(self) -> Workers:
        # One pass, one core: the sums inside a pass are then the same for every number of threads.
        return Workers(self.threads, places=len(self.devices), begin=partial(torch.set_num_threads, 1))
