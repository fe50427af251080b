"""Fuzzed inputs: what each of our readers makes of them, beside what an independent reading says.

Every kind is a class: `make` gives a hostile input by a seeded generator, `use` what our code makes of it,
True where that is right.
"""

from tests.torture.inputs.arguments import Masks, Numbers
from tests.torture.inputs.base import Input
from tests.torture.inputs.documents import Benchmarks, Genotypes, Priors, Results, Tables
from tests.torture.inputs.images import Arrays, Cifar, Pictures
from tests.torture.inputs.state import CacheEntries, Checkpoints, Journals, Trainings

KINDS: dict[str, type[Input]] = {
    kind.name: kind
    for kind in (
        Masks,
        Numbers,
        Genotypes,
        Tables,
        Priors,
        Results,
        Benchmarks,
        Cifar,
        Pictures,
        Arrays,
        Journals,
        CacheEntries,
        Checkpoints,
        Trainings,
    )
}
