"""Tells Docker whether a recipe's line judges or idles: status 1 if it is blind, lacks a stage or is silent."""

import re
import sys
import urllib.request
from pathlib import Path

from edge.recipe_file import read_recipe

recipe, _ = read_recipe(Path(sys.argv[1]))
address = f"http://{recipe.metrics.host}:{recipe.metrics.port}/metrics"
try:
    with urllib.request.urlopen(address, timeout=4) as answer:
        text = answer.read().decode()
except OSError as error:
    sys.exit(f"{address}: {error}")
if not any(
    f'linejudge_state{{line="{recipe.line}",state="{state}"}} 1.0' in text for state in ("idle", "judging")
):
    sys.exit(f"line {recipe.line} is blind, or has only just started")
for away in re.findall(rf'linejudge_stage_up{{line="{recipe.line}",stage="(\w+)"}} 0.0', text):
    sys.exit(f"line {recipe.line} is without its stage {away}")
