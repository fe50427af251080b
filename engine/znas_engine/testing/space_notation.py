"""How a space writes its architectures, and what it reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from znas_engine.errors import InvalidValueError
from znas_engine.testing.agreement import one_line
from znas_engine.testing.space_masks import SpaceDraws

#: What a file or a stranger may hand over.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=30,
)


class NotationContract(SpaceDraws):
    def test_every_architecture_survives_its_notation(self) -> None:
        for mask in self.architectures(idle=True):
            genotype = self.space.genotype(mask)
            text, structure = str(genotype), genotype.structure()
            assert "\n" not in text
            assert hash(genotype) == hash(self.space.parse(text))
            for written in (text, structure, json.loads(json.dumps(structure)), json.dumps(structure)):
                assert self.space.parse(written) == genotype

    def test_anything_else_is_refused_in_one_line(self) -> None:
        @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
        @given(ANYTHING)
        def read(value: Any) -> None:
            for written in (value, repr(value)):
                self.read_or_refused(written)

        read()

    @pytest.mark.parametrize(
        "written",
        [
            "",
            "x" * 20_000,
            "[" * 5000,
            "-" * 9000 + "1",
            "1\n2",
            "__import__('os').getcwd()",
            b"x",
            None,
            {},
            [],
            3,
        ],
        ids=lambda written: repr(written)[:20],
    )
    def test_what_no_architecture_looks_like(self, written: Any) -> None:
        with one_line(InvalidValueError):
            self.space.parse(written)

    def test_damaged_notation_is_refused_or_another_architecture(self) -> None:
        (genotype,) = self.admitted(1)
        text = str(genotype)
        for place in range(len(text)):
            for damaged in (
                text[:place] + text[place + 1 :],
                text[:place] + "~" + text[place + 1 :],
                text[:place],
            ):
                self.read_or_refused(damaged)

    def read_or_refused(self, written: Any) -> None:
        """Nothing but an architecture that survives, or one line."""
        try:
            found = self.space.parse(written)
        except InvalidValueError:
            with one_line(InvalidValueError):
                self.space.parse(written)
        else:
            assert self.space.parse(str(found)) == found
