"""Change one line of the core at a time, and see whether the tests notice.

    python scripts/mutation_check.py --count 60 --seed 0

Mutations are drawn by the seed from all single-line ones of the rooms named below: a comparison, an operator, a number,
a truth value, a condition or a returned value is changed, or a call whose result nobody uses is left out. What only
words a message is left alone. Each mutant runs the tests of its own file first, then those of its room, of the
pipelines and of the published outputs, until one fails. A mutant that hangs counts as noticed.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
SOURCE, TESTS = ROOT / "src" / "stylecrafter", ROOT / "tests"
ROOMS = ("adapter", "guidance.py", "references", "backbones", "pipelines")
MINUTES = 10  # for a mutant, after which it counts as hanging

_COMPARED = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
_COMPUTED = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "*",
    ast.Pow: "*",
}
# Calls that only say something, and statements that do.
_WORDS = ("logger", "warnings")


@dataclass(frozen=True)
class Mutation:
    """A change of one line: `[start, end)` of it is replaced."""

    file: str
    line: int
    start: int
    end: int
    text: str
    before: str

    def applied(self) -> str:
        """The source of the file with the change."""
        lines = (ROOT / self.file).read_text().splitlines(keepends=True)
        line = lines[self.line - 1].encode()
        lines[self.line - 1] = (line[: self.start] + self.text.encode() + line[self.end :]).decode()
        return "".join(lines)


def mutations_of(path: Path) -> list[Mutation]:
    """Every mutation of a file."""
    source = path.read_text()
    lines = [line.encode() for line in source.splitlines()]
    found: list[Mutation] = []

    def add(node: ast.AST, start: int, end: int, text: str) -> None:
        line = node.lineno  # type: ignore[attr-defined]
        before = lines[line - 1][start:end].decode()
        found.append(Mutation(str(path.relative_to(ROOT)), line, start, end, text, before))

    for node in _code(ast.parse(source)):
        if getattr(node, "lineno", None) is None or node.lineno != node.end_lineno:  # type: ignore[attr-defined]
            continue
        line = lines[node.lineno - 1]  # type: ignore[attr-defined]
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARED:
                add(node, left.end_col_offset or 0, right.col_offset, f" {_COMPARED[type(op)]} ")
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMPUTED:
                between = line[left.end_col_offset : right.col_offset]
                if b"(" not in between and b")" not in between:
                    add(node, left.end_col_offset or 0, right.col_offset, f" {_COMPUTED[type(op)]} ")
            case ast.BoolOp(op=op, values=[left, right, *_]):
                other = " or " if isinstance(op, ast.And) else " and "
                between = line[left.end_col_offset : right.col_offset]
                if b"(" not in between and b")" not in between:
                    add(node, left.end_col_offset or 0, right.col_offset, other)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                add(node, node.col_offset, operand.col_offset, "")
            case ast.Constant(value=bool(value)):
                add(node, node.col_offset, node.end_col_offset or 0, str(not value))
            case ast.Constant(value=int(value) | float(value)):
                add(node, node.col_offset, node.end_col_offset or 0, repr(value + 1))
            case ast.IfExp(test=test):
                add(node, test.col_offset, test.end_col_offset or 0, f"(not ({ast.unparse(test)}))")
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                add(node, value.col_offset, value.end_col_offset or 0, "None")
            case ast.Expr(value=ast.Call()):
                add(node, node.col_offset, node.end_col_offset or 0, "pass")
    return found


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that decide something: no annotations, decorators, messages, or branches for type checkers."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or isinstance(node, (ast.Raise, ast.JoinedStr)):
                continue
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                continue
            if isinstance(node, ast.Expr) and ast.unparse(node).startswith(_WORDS):
                continue
            yield node
            yield from _code(node)


def draw(count: int, seed: int) -> list[Mutation]:
    """`count` mutations, every one of all rooms as likely as the others; at most one of a line."""
    files = [file for room in ROOMS for file in _files(SOURCE / room)]
    lines: dict[tuple[str, int], list[Mutation]] = {}
    for mutation in (m for file in files for m in mutations_of(file)):
        lines.setdefault((mutation.file, mutation.line), []).append(mutation)
    rng = random.Random(seed)
    chosen = rng.sample(sorted(lines), count)
    return [rng.choice(lines[place]) for place in chosen]


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def tests_for(file: str) -> list[str]:
    """The tests that are asked about a file, the nearest first."""
    inside = (ROOT / file).relative_to(SOURCE)
    nearest = TESTS / inside.parent / f"test_{inside.name}"
    asked = [nearest, TESTS / inside.parent if len(inside.parts) > 1 else nearest]
    asked += [
        TESTS / name for name in ("pipelines", "adapter", "golden", "references", "training/test_stages.py")
    ]
    return list(dict.fromkeys(str(path) for path in asked if path.exists()))


class _Mutant(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives one module its changed source."""

    def __init__(self, mutation: Mutation) -> None:
        inside = (ROOT / mutation.file).relative_to(SOURCE.parent).with_suffix("")
        self._name = ".".join(part for part in inside.parts if part != "__init__")
        self._file, self._source = str(ROOT / mutation.file), mutation.applied()

    def find_spec(self, fullname: str, path: object, target: object = None) -> object:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._file, loader=self)

    def get_source(self, fullname: str) -> str:
        return self._source

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, self._file, "exec"), module.__dict__)


def is_noticed(mutation: Mutation, log: Path, tests: Sequence[str] = ()) -> bool:
    """Whether a test fails with the mutation in place; in a child, which has the libraries already."""
    child = os.fork()
    if child == 0:
        os.setsid()
        out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        try:
            import pytest

            sys.meta_path.insert(0, _Mutant(mutation))  # type: ignore[arg-type]
            # Plain assertions: what the parent has imported cannot be rewritten any more.
            options = "-x -q -p no:cacheprovider -o addopts= --assert plain".split()
            chosen = tests or tests_for(mutation.file)
            os._exit(int(pytest.main([*options, "-m", "not slow and not process", *chosen])))
        except BaseException:
            traceback.print_exc()  # it could not even be imported
            sys.stderr.flush()
            os._exit(1)
    ends = time.monotonic() + MINUTES * 60
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.2)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check; the exit code says whether enough was noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--least", type=float, default=0.95, help="part that has to be noticed")
    parser.add_argument(
        "--part", default="1/1", help="2/3: the second third of the mutations, for runs side by side"
    )
    parser.add_argument("--report", type=Path, default=Path("out/mutations.jsonl"))
    asked = parser.parse_args(arguments)
    part, parts = map(int, asked.part.split("/"))
    mutations = draw(asked.count, asked.seed)[part - 1 :: parts]
    asked.report.parent.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    sys.path.insert(0, str(SOURCE.parent))
    os.environ["OMP_NUM_THREADS"] = "1"
    import diffusers  # noqa: F401  # once, for all children
    import torch
    import transformers  # noqa: F401

    torch.set_num_threads(1)
    log = asked.report.with_suffix(".tests.txt")
    every = list(
        dict.fromkeys(test for file in dict.fromkeys(m.file for m in mutations) for test in tests_for(file))
    )
    if is_noticed(Mutation(mutations[0].file, 1, 0, 0, "", ""), log, every):
        print(f"tests fail without any change, see {log}")
        return 2
    noticed = 0
    for index, mutation in enumerate(mutations, 1):
        started = time.monotonic()
        seen = is_noticed(mutation, log)
        noticed += seen
        with open(asked.report, "a") as file:
            file.write(json.dumps({**asdict(mutation), "noticed": seen}) + "\n")
        change = f"{mutation.before.strip()} -> {mutation.text.strip()}"
        print(
            f"[{index}/{len(mutations)}] {'noticed' if seen else 'NOT NOTICED'}  {mutation.file}:{mutation.line}  "
            f"{change}  {time.monotonic() - started:.0f} s",
            flush=True,
        )
    print(f"{noticed} of {len(mutations)} noticed")
    return 0 if noticed >= asked.least * len(mutations) else 1


if __name__ == "__main__":
    raise SystemExit(main())
