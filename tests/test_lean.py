"""An audit's own processes import torch without what its compiler alone asks for; the user's code gets all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNTED = "len([name for name in sys.modules if name.startswith('torch')])"
ON_META = "torch.linalg.eigvals(torch.empty(3, 3, device='meta'))"  # known to no other registration


def printed(program: str, *, fails: bool = False) -> str:
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert bool(answer.returncode) == fails, answer.stderr
    return answer.stdout.strip()


def test_torch_computes_as_ever_and_fewer_modules_are_imported():
    product = "torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)).sum().item()"
    all_of_it = printed(f"import sys, torch; print({product}, {COUNTED})").split()
    lean = printed(
        f"import sys; from dataprops.util.lean import spare; spare(); import torch; print({product}, {COUNTED})"
    ).split()
    assert lean[0] == all_of_it[0] == "36.0"
    assert int(lean[1]) < int(all_of_it[1])
    printed(f"from dataprops.util.lean import spare; spare(); import torch; {ON_META}", fails=True)


@pytest.mark.parametrize("before", ["", "import torch;"])
def test_code_that_is_not_ours_finds_torch_whole(before):
    load = "from dataprops.probe.activations import imported; imported('json:loads')"
    shape = f"print(tuple({ON_META}.shape))"
    assert printed(f"from dataprops.util.lean import spare; spare(); {before} {load}; import torch; {shape}") == "(3,)"


def test_where_torch_is_imported_already_nothing_is_changed():
    assert printed(f"import torch; from dataprops.util.lean import spare; spare(); print({ON_META}.shape[0])") == "3"
