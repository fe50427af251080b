"""The networks of a space: graphs, trainable modules, the eager supernet."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from znas_engine.backends import get_backend
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.graph import Conv, Graph, Input, Linear, Mixed, Norm
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace, resize
from znas_engine.spaces.base import parameters
from znas_engine.supernet.normalisation import NORMS, Statistics
from znas_engine.testing.agreement import (
    assert_conforms,
    kinds_of_masks,
    noise,
    one_line,
    runnable,
    small,
)
from znas_engine.testing.space_masks import SpaceDraws

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Runs in a process that finds neither the engine nor the package of the space.
_STANDALONE = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[2].split(","):
            raise ImportError(f"architecture.py asks for {name}")
sys.meta_path.insert(0, Nothing())
scope = {"__name__": "architecture"}
exec(compile(open(sys.argv[1]).read(), "architecture.py", "exec"), scope)
import torch
network = scope["build"](classes=5)
inputs, side = map(int, sys.argv[3:])
before = [p.detach().clone() for p in network.parameters()]
logits = network(torch.randn(4, inputs, side, side))
torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
torch.optim.SGD(network.parameters(), lr=0.1).step()
assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters()))
print(list(logits.shape), sum(p.numel() for p in network.parameters()))
"""


class NetworkContract(SpaceDraws):
    network_is_pruned: ClassVar[bool]
    resolutions: ClassVar[tuple[int, ...]]

    @pytest.fixture(autouse=True)
    def one_thread(self) -> Iterator[None]:
        """Small networks are slower on several threads, many times so where others use the machine."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)

    def test_sizes(self) -> None:
        """To score, to search and to train; each takes grey images and another width and depth."""
        space = self.space
        sizes = (space.proxy_macro, space.search_macro, space.evaluation_macro)
        macros = [size(resolution=32, classes=7) for size in sizes]
        assert [(macro.resolution, macro.classes, macro.inputs) for macro in macros] == [(32, 7, 3)] * 3
        assert macros[0].channels == 8
        assert macros[0].cells <= min(macros[1].cells, macros[2].cells)
        for macro in macros[:2]:
            other = resize(replace(macro, inputs=1), channels=6, cells=macro.cells + 1)
            assert space.supernet(other).nodes[0].shape == (1, 32, 32)
            assert len(space.supernet(other).cells) > len(space.supernet(macro).cells)

    def test_the_supernet_holds_every_mixed_operation(self) -> None:
        space = self.space
        for macro in (small(space), space.search_macro(resolution=32, classes=7)):
            graph = space.supernet(macro)
            assert isinstance(graph.nodes[0], Input)
            assert isinstance(graph.nodes[-1], Linear)
            assert graph.classes == macro.classes
            assert len({node.name for node in graph.nodes}) == len(graph.nodes)
            assert list(graph.cells) == sorted(set(graph.cells))
            slots = {slot for node in graph.nodes if isinstance(node, Mixed) for slot in node.slots}
            assert slots - {None} == set(map(tuple, np.argwhere(space.computing).tolist()))
            assert all(graph.live(space.mixture()))

    def test_a_network_is_the_supernet_pruned_to_its_path(self) -> None:
        """Names, sizes and, with the weights that these names draw, logits."""
        macro = small(self.space)
        supernet = self.space.supernet(macro)
        environment = Environment(5, "gaussian", noise(macro, 4))
        for genotype in self.admitted(5):
            mask = self.space.mask(genotype)
            network = self.space.network(genotype, macro)
            assert not any(isinstance(node, Mixed) and any(node.slots) for node in network.nodes)
            if self.network_is_pruned:
                assert _weighted(network, None) == _weighted(supernet, mask)
                found, expected = (
                    _logits(graph, environment.weight, mask, environment.batch.images)
                    for graph in (network, supernet)
                )
                np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())

    def test_the_trainable_network_is_the_graph(self) -> None:
        """As many parameters, the same names of weights, the same logits."""
        import torch

        for resolution in self.resolutions:
            for genotype in self.admitted(3):
                macro = self.trained(resolution)
                graph = self.space.network(genotype, macro)
                torch.manual_seed(0)
                network = self.space.to_torch(genotype, macro).eval()
                network.get_submodule("classifier").get_parameter("bias").data.zero_()
                assert sum(p.numel() for p in network.parameters()) == graph.parameters
                state = network.state_dict()
                used = {f"{node.name}.weight" for node in graph.nodes if isinstance(node, Conv | Linear)}
                assert used == {name for name, value in state.items() if value.dim() in (2, 4)}
                images = noise(macro, 3).images
                expected = _numbers(network(torch.from_numpy(images)))
                found = _logits(graph, _drawn(state), self.space.mixture(), images)
                np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())

    def test_grey_images_go_through_every_network(self) -> None:
        """Graph, trainable network and eager supernet read one channel where images have one."""
        import torch

        macro, (genotype,) = replace(small(self.space), inputs=1), self.admitted(1)
        images = torch.from_numpy(noise(macro, 2).images)
        network = self.space.to_torch(genotype, macro)
        graph = self.space.network(genotype, macro)
        assert sum(p.numel() for p in network.parameters()) == graph.parameters
        assert network(images).shape == (2, macro.classes)
        if self.space.eager is not None:
            mask = torch.from_numpy(self.space.mixture())
            assert _eager(self.space, macro)(images, mask).shape == (2, macro.classes)

    def test_the_source_stands_alone(self, tmp_path: Path) -> None:
        """It imports torch and Python's own, is trained without this package, and says what it holds."""
        (genotype,) = self.admitted(1)
        macro = self.trained(self.resolutions[0])
        text = self.space.source(genotype, macro)
        assert str(genotype) in text
        assert _imports(text) <= {"torch", *sys.stdlib_module_names}
        (tmp_path / "architecture.py").write_text(text, encoding="utf-8")
        images = (str(macro.inputs), str(macro.resolution))
        hidden = {"znas", "znas_engine", self.space.trainable.partition(".")[0]}
        done = subprocess.run(
            [sys.executable, "-c", _STANDALONE, tmp_path / "architecture.py", ",".join(hidden), *images],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        parameters = self.space.network(genotype, replace(macro, classes=5)).parameters
        assert done.stdout.strip() == f"[4, 5] {parameters}"

    def test_the_eager_supernet_is_the_graph(self) -> None:
        """If the space has one: with the same weights the same logits, under masks of every kind."""
        if self.space.eager is None:
            return
        import torch

        macro = small(self.space)
        network = _eager(self.space, macro).eval()
        environment, graph = Environment(5, "gaussian", noise(macro, 4)), self.space.supernet(macro)
        with torch.no_grad():
            for node in graph.nodes:
                if isinstance(node, Conv | Linear):
                    weight = torch.from_numpy(environment.weight(node))
                    network.get_parameter(f"{node.name}.weight").copy_(weight)
            network.get_parameter("classifier.bias").zero_()
        images = environment.batch.images
        for kind, mask in kinds_of_masks(self.space).items():
            expected = _logits(graph, environment.weight, mask, images)
            found = _numbers(network(torch.from_numpy(images), torch.from_numpy(mask)))
            np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), err_msg=kind)

    def test_costs_add_up(self) -> None:
        """Costs of operations predict parameters and operations of whole networks, up to one constant."""
        macro = small(self.space)
        for of in (parameters, _operations):
            costs = self.space.costs(macro, of)
            assert (np.isfinite(costs) == self.space.candidates).all()
            finite = np.where(self.space.candidates, costs, 0)
            rest = [
                of(self.space.network(self.space.genotype(mask), macro)) - float((mask * finite).sum())
                for mask in self.architectures()
            ]
            np.testing.assert_allclose(rest, rest[0], rtol=1e-9, atol=1e-3)

    def test_equal_functions_have_equal_logits(self) -> None:
        """With one number for all weights, since they may stand on other edges."""
        macro = small(self.space)
        environment = Environment(0, "constant", noise(macro, 4))
        groups: dict[Any, list[Genotype]] = {}
        for mask in self.architectures(400):
            genotype = self.space.genotype(mask)
            known = groups.setdefault(self.space.function_of(genotype), [])
            if genotype not in known:
                known.append(genotype)
        for first, *others in [group for group in groups.values() if len(group) > 1][:8]:
            logits = [
                _logits(
                    self.space.network(g, macro),
                    environment.weight,
                    self.space.mask(g),
                    environment.batch.images,
                )
                for g in (first, *others)
            ]
            for found in logits[1:]:
                np.testing.assert_allclose(found, logits[0], rtol=1e-4, atol=1e-6, err_msg=f"{first}")

    def test_every_backend_agrees_or_says_what_it_lacks(self) -> None:
        """Those that run here, under every normalisation."""
        macro = small(self.space)
        environment = Environment(11, "gaussian", noise(macro, 20))
        for backend in runnable():
            for norm in NORMS:
                try:
                    evaluator = get_backend(backend)(self.space, macro, norm=norm)
                except InvalidValueError:
                    with one_line(InvalidValueError, match=backend):
                        get_backend(backend)(self.space, macro, norm=norm)
                    continue
                assert_conforms(get_backend("torch")(self.space, macro, norm=norm), evaluator, environment)

    def trained(self, resolution: int) -> Macro:
        """The size of the trained network, made small; two cells deep or more."""
        macro = self.space.evaluation_macro(resolution=resolution, classes=7)
        cells = max(2, self.space.proxy_macro(resolution=resolution, classes=7).cells)
        return resize(macro, channels=8, cells=cells)


def _operations(graph: Graph) -> float:
    return graph.flops


def _weighted(graph: Graph, mask: Mask | None) -> dict[str, tuple[str, tuple[int, ...], int]]:
    """What is learnt of the nodes that reach the logits: by name the kind, the shape and the parameters."""
    return {
        node.name: (type(node).__name__, node.shape, node.parameters)
        for node, live in zip(graph.nodes, graph.live(mask), strict=True)
        if live and isinstance(node, Conv | Linear | Norm)
    }


def _logits(graph: Graph, weight: Any, mask: Mask, images: Any) -> Any:
    """float32 [n, classes] of a graph with these weights, normalised by nothing (mean 0, variance 1)."""
    import torch

    from znas_engine.supernet.network import Network

    weights = {
        i: torch.from_numpy(weight(node))
        for i, node in enumerate(graph.nodes)
        if isinstance(node, Conv | Linear)
    }
    with torch.no_grad():
        logits = Network(graph, weights, Statistics.identity(graph))(mask, torch.from_numpy(images))
    return _numbers(logits)


def _eager(space: SearchSpace[Any], macro: Macro) -> nn.Module:
    """The supernet as NAS code bases write it, of a space that has one."""
    assert space.eager is not None
    module, _, name = space.eager.partition(":")
    network: nn.Module = getattr(import_module(module), name)(macro)
    return network


def _drawn(state: dict[str, Tensor]) -> Callable[[Conv | Linear], Any]:
    """A network's own weights, by node."""
    return lambda node: state[f"{node.name}.weight"].numpy()


def _numbers(logits: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = logits.detach().numpy()
    return found


def _imports(text: str) -> set[str]:
    """The packages that a source file imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found
