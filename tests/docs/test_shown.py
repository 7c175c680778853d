"""What the documents show works: recipes are read, commands are commands, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import edge.__main__
import trt_build.__main__
from edge.recipe import Fusion, Recipe
from edge.recipe_file import read_recipe

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "benchmarks").glob("*.md")))
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text() for path in (*PAGES, *sorted((ROOT / "docs").rglob("*.md")))
}
READ = {name: text for name, text in DOCUMENTS.items() if "decisions" not in name}
RECIPES = [
    pytest.param(text, id=f"{name}-{number}")
    for name, document in READ.items()
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", document, re.DOTALL))
]
AS_USER = "sudo -u linejudge "
COMMANDS = [
    (name, typed)
    for name, document in READ.items()
    for typed in re.findall(
        r"^ {4}(?:sudo (?:-u linejudge )?)?((?:trt-build|edge) .+?)(?: +#.*)?$", document, re.M
    )
]
GROUPS: dict[str, Any] = {
    "edge": typer.main.get_command(edge.__main__.app),
    "trt-build": typer.main.get_command(trt_build.__main__.app),
}
#: What a fragment of a recipe is part of.
AROUND = {
    "line": 'line = "shown"\n',
    "bundle": 'bundle = "bundle"\n',
    "source": '[source]\nkind = "synthetic"\nwidth = 64\nheight = 64\n',
}


def recipe_of(text: str, tmp_path: Path) -> Recipe:
    """Read a recipe that a document shows; what a fragment lacks is put around it."""
    lacks = {key for key in AROUND if not re.search(rf"^(?:{key} =|\[{key}\])", text, re.MULTILINE)}
    if re.search(r"^\[\[judge\]\]", text, re.MULTILINE):
        lacks -= {"bundle"}
    head = "".join(AROUND[key] for key in ("line", "bundle") if key in lacks)
    (tmp_path / "line.toml").write_text(f"{head}{text}\n{AROUND['source'] if 'source' in lacks else ''}")
    return read_recipe(tmp_path / "line.toml")[0]


@pytest.mark.parametrize("text", RECIPES)
def test_a_recipe_shown_is_a_recipe(text: str, tmp_path: Path) -> None:
    """Who copies a recipe, or a section of one, gets no error about it."""
    assert recipe_of(text, tmp_path).line


def test_the_recipes_shown_say_what_their_words_say(tmp_path: Path) -> None:
    """Of a first line, of several models on each part, and of a matcher."""
    shown = re.findall(r"```toml\n(line = .*?)```", READ["README.md"] + READ["docs/models.md"], re.DOTALL)
    recipes = {recipe.line: recipe for recipe in (recipe_of(text, tmp_path) for text in shown)}
    assert recipes["pcb"].rule.unknown == {"dark": "accept"}
    assert [judge.name for judge in recipes["pill"].judges] == ["surface", "imprint"]
    assert recipes["pill"].fusion == Fusion(false_reject=0.05)
    assert recipes["valves"].judges[0].drawings.endswith("valve-7/drawing*.png")


@pytest.mark.parametrize(("name", "typed"), COMMANDS)
def test_a_command_shown_is_a_command(name: str, typed: str) -> None:
    """Who types what is shown gets no error about a word of it."""
    program, *words = shlex.split(typed)
    command = GROUPS[program]
    while at := [index for index, word in enumerate(words) if word in getattr(command, "commands", ())]:
        command.make_context(typed, words[: at[0] + 1])  # its own options
        command, words = command.commands[words[at[0]]], words[at[0] + 1 :]
    assert not hasattr(command, "commands") or not words or words[0].startswith("-"), f"{name}: no {words[0]}"
    command.make_context(typed, words)  # reads them and runs nothing


def test_the_way_to_a_bundle_is_shown_whole() -> None:
    """Of a model of good parts and of a comparator: every step, in its order."""
    steps = ["train", "export", "calibrate", "pack", "verify", "evaluate"]
    shown = {name: [typed.split()[1] for where, typed in COMMANDS if where == name] for name in READ}
    assert shown["docs/models.md"] == [*steps, *steps]
    assert [step for step in shown["README.md"] if step in steps] == steps


def test_the_programs_that_measure_are_there() -> None:
    """Who looks for the program behind a figure finds it."""
    named = {
        name
        for page in ("README.md", "tried.md")
        for name in re.findall(r"`(\w+\.py)\b", DOCUMENTS[f"benchmarks/{page}"])
    }
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / "benchmarks" / name).exists()] == []


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_is_linked_exists() -> None:
    """No link of any document leads nowhere, neither to a file nor to a heading."""
    broken = []
    for name, text in DOCUMENTS.items():
        for link, heading in re.findall(r"\]\(([^):#]*)(?:#([^)]+))?\)", text):
            path = ((ROOT / name).parent / link).resolve() if link else ROOT / name
            if not path.exists() or (heading and heading not in anchors(path.read_text())):
                broken.append(f"{name}: {link}#{heading}")
    assert broken == []
