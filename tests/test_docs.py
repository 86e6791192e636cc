"""What the pages say is so: links lead somewhere, files and names are there, commands parse, and code runs."""

from __future__ import annotations

import pkgutil
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from benchmarks.__main__ import SCRIPTS, SUITE, parser

from stylecrafter import StyleCrafterPipeline
from stylecrafter.cli.main import app
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.strategies import find_strategy
from tests.pages import ROOT, blocks, pages, run_python, text_of

PAGES = pages()
#: Pages whose code is run by a test of their own, which looks at more than whether it runs and begins with their path.
RUN_ELSEWHERE = {
    page
    for test in ROOT.glob("tests/*/test_docs.py")
    for page in PAGES
    if test.read_text(encoding="utf-8").startswith(f'"""{page} ')
}
_FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
_SHELL_TOOLS = ("cd", "git", "source")


def _prose(page: str) -> str:
    return _FENCED.sub("", text_of(page))


def _anchors(page: str) -> set[str]:
    """As GitHub makes them of headings: lower case, without punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target.resolve().relative_to(ROOT).as_posix()), link


def test_every_page_is_in_an_index() -> None:
    """Pages of docs are listed in docs/README.md, those of its folders there or in the folder's own README.md."""
    assert "](../integrations/comfyui/README.md)" in text_of("docs/README.md")
    for page in PAGES[3:]:
        folder, _, name = page.rpartition("/")
        indexes = {"docs/README.md": page.removeprefix("docs/"), f"{folder}/README.md": name}
        listed = (f"]({link})" in text_of(index) for index, link in indexes.items() if index in PAGES)
        assert page == "docs/README.md" or any(listed), f"list {page} in {' or '.join(indexes)}"


@pytest.mark.parametrize("page", PAGES)
def test_files_and_names_are_there(page: str) -> None:
    """Paths into the repository begin with a folder of the root or of the package; names begin with the package."""
    roots = [ROOT, ROOT / "src" / "stylecrafter"]
    tops = {entry.name for root in roots for entry in root.iterdir() if entry.is_dir()} - {
        "data",
        "adapter",
        "out",
    }
    for path in re.findall(r"`([\w.-]+/[\w./-]+)`", text_of(page)):
        if path.split("/")[0] in tops:
            assert any((root / path).exists() for root in roots), path
    for path in re.findall(r"`((?:data|adapter|[\w/]+)/\w+\.py)`", text_of(page)):
        assert any((root / path).exists() for root in roots), path
    for name in re.findall(r"`(stylecrafter(?:\.\w+)+)", text_of(page)):
        pkgutil.resolve_name(name)


@pytest.mark.parametrize("page", PAGES)
def test_commands_parse(page: str) -> None:
    assert not re.findall(r"^ {4}(?:stylecrafter|python|make|torchrun) ", _prose(page), re.M), (
        "commands stand in blocks of sh, where this test finds them"
    )
    for block in blocks(page, "sh"):
        for line in block.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"\w+=.*", words[0]):
                del words[0]
            if words:
                _check_command(words)


def _check_command(words: list[str]) -> None:
    match words:
        case ["stylecrafter", *arguments]:
            _check_arguments(arguments)
        case ["torchrun", *rest]:
            _check_arguments(rest[rest.index("stylecrafter.cli") + 1 :])
        case ["make", *targets]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            for target in targets:
                assert "=" in target or re.search(rf"^{target}:", makefile, re.M), target
        case ["python", "-m", "pytest", path]:
            assert (ROOT / path).exists(), path
        case ["python", "-m", "benchmarks", *arguments] if arguments[0] not in SCRIPTS:
            names = parser().parse_args(arguments).names
            assert set(names) <= set(SUITE), names
        case ["python", "-m", "benchmarks", script, *arguments]:
            _check_command(["python", f"benchmarks/{script}.py", *arguments])
        case ["python", script, *arguments]:
            code = (ROOT / script).read_text(encoding="utf-8")
            for option in re.findall(r"--[\w-]+", " ".join(arguments)):
                assert f'"{option}"' in code, f"{script} has no {option}"
        case _:
            assert words[0] in _SHELL_TOOLS, words


def _check_arguments(arguments: list[str]) -> None:
    """The command is there, and takes these; a recipe, its changes and a strategy are real."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    values = command.make_context(command.name, arguments).params
    if command.name == "train" and values["recipe"] is not None:
        recipe = load_recipe(values["recipe"], values["changes"])
        if values["strategy"] is not None:
            recipe.with_strategy(find_strategy(values["strategy"]))


def test_code_that_is_not_run_says_why() -> None:
    marked = {page for page in PAGES for block in blocks(page, "python") if block.reason is not None}
    assert marked <= {"docs/checkpoints.md", "docs/data.md", "docs/tutorial.md"}


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if page not in RUN_ELSEWHERE and any(block.reason is None for block in blocks(page, "python"))
    ],
)
def test_the_code_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, but with one step of sampling and two frames where it asks for no number of its own."""
    whole = StyleCrafterPipeline.__call__

    def quick(pipe: StyleCrafterPipeline, *args: Any, **given: Any) -> Any:
        return whole(pipe, *args, **({"num_inference_steps": 1, "num_frames": 2} | given))

    monkeypatch.setattr(StyleCrafterPipeline, "__call__", quick)
    run_python(page, tmp_path)
