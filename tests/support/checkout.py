"""Lets tests import `edge` and `trt_build` from this checkout where `pip install -e` installed them."""

import sys
from pathlib import Path

# Python asks an editable install last, and would take the folder `tests/edge` for the package. A package that
# was installed otherwise comes before this folder.
sys.path.append(str(Path(__file__).parents[2]))
