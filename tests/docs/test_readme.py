"""The README's commands, typed on a machine without FSL and without a cluster."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tbss_hpc.tbss.synthetic import make_study
from tests import processes
from tests.docs.pages import ROOT
from tests.local.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

README = ROOT / "README.md"
_BLOCK = re.compile(
    r"^(<!-- (?P<mark>[^\n]*) -->\n)?```console\n(?P<lines>.*?)^```", re.MULTILINE | re.DOTALL
)

NO_ENGINE = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("picsl_greedy", "scipy"))),
    reason="the engine extra is missing: pip install '.[engine]'",
)


def marked_blocks() -> list[tuple[str, str]]:
    """Give the blocks of commands with the marks before them."""
    text = README.read_text(encoding="utf-8")
    return [(found["mark"] or "", found["lines"]) for found in _BLOCK.finditer(text)]


def commands() -> list[str]:
    """Give the commands that are to be typed here, in their order."""
    lines = [
        line for mark, block in marked_blocks() if mark == "run" for line in block.splitlines()
    ]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def shown(file: str) -> str:
    """Give the content of a file, as `$ cat FILE` shows it in the README."""
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"^\$ cat {re.escape(file)}\n((?:(?!\$|```).*\n)+)", text, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Program]:
    """A home with a clone of this project, a study of two subjects and a file of commands."""
    program = Program(tmp_path)
    program.environment.pop("TBSS_HPC_SITE", None)  # the README finds its site file by itself
    clone, study = program.home / "tbss-hpc", program.folder / "my-study"
    clone.mkdir()
    (clone / ".venv").symlink_to(Path(sys.prefix))
    (clone / "configs").symlink_to(ROOT / "configs")
    make_study(study, subjects=2)
    (study / "pack.txt").write_text(shown("pack.txt"))
    for name in ("run1.log", "run2.log"):
        (study / name).write_text("something to be packed\n")
    try:
        yield program
    finally:
        processes.until(lambda: not list(program.processes()))
        processes.kill_all(program.processes)


def test_every_block_says_whether_it_is_run_and_if_not_why() -> None:
    marks = [mark for mark, _ in marked_blocks()]

    assert [m for m in marks if m != "run" and not re.fullmatch(r"not run: .+", m)] == []
    assert marks.count("run") >= 4


@NO_ENGINE
def test_the_commands_do_what_the_readme_says(machine: Program) -> None:
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(commands())],
        cwd=machine.folder,
        env=machine.environment,
        capture_output=True,
        text=True,
        timeout=processes.PATIENCE_SECONDS * 3,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "4 pairs of 2 subjects, none of them done yet",
        "4 of 4 done",
        "<- most typical",
        "2 of 2 done",
        "# outcome      succeeded",
        "is a good site file for slurm",
        "would run: sbatch ",
        '"state": "finished"',
    ):
        assert words in done.stdout
    study = machine.folder / "my-study"
    assert (study / "scores.svg").read_text().startswith("<svg")
    assert (study / "run2.log.gz").exists()
