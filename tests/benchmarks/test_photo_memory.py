"""What photos as phones make them take of memory; docs/benchmarks.md has the table."""

import pytest

from tests.benchmarks import photo_memory
from tests.benchmarks.photo_memory import Case
from tests.benchmarks.plugin import Record

pytestmark = [pytest.mark.bench, pytest.mark.models]


@pytest.mark.parametrize("case", photo_memory.cases(), ids=lambda case: case.name)
def test_a_command_stays_below_its_line(case: Case, figure: Record) -> None:
    megabytes, _, code = photo_memory.measured(case)
    # Photos of a group alone are refused: nobody said who is meant.
    assert code == (3 if "groups" in case.name else 0)
    figure(f"Memory at the peak: {case.name}", megabytes, "MB", at_most=case.line)
