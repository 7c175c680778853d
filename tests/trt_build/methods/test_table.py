"""Every method is found by its name, on a machine without torch too."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge.errors import BundleError
from trt_build.methods.table import METHODS, method_of


def test_methods_are_found_without_torch() -> None:
    """A machine that only packs and verifies needs no torch; each method tells its own name."""
    pytest.importorskip("scipy", reason="needs scipy, which only building models uses")
    script = (
        "import sys\n"
        "from trt_build.methods.table import METHODS, method_of\n"
        "print(*(method_of(name).name for name in METHODS), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [*METHODS, "False"]


def test_an_unknown_method_is_refused() -> None:
    """The error lists the methods there are."""
    with pytest.raises(BundleError, match=r"expected one of comparator, matcher, .*, found 'oracle'"):
        method_of("oracle")
