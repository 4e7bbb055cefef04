"""Three hundred of the inputs that `make fuzz` damages; those that once failed are among the tests of each part."""

import pytest
import torch

from tests.fuzz import GOOD, KINDS, Base, try_one

COUNT = 300


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base.prepared(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_input_is_read_or_refused(kind: str, base: Base) -> None:
    share = KINDS[kind][1]
    results = [try_one(1, index, base, kind) for index in range(COUNT * share // 100)]
    assert [result for result in results if result.outcome not in GOOD] == []
    assert {result.outcome for result in results} == set(GOOD) or len(
        results
    ) < 10  # else it is the fuzzer that is blind
    assert torch.get_num_threads() == 1
