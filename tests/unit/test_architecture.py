"""Who may import whom, read from the source: docs/explanation/architecture.md as a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "tbss_hpc"

#: From the top down. A package may import what stands in a lower row, and not its neighbours.
ROWS = [
    {"cli"},
    {"app"},
    {"cluster", "sites", "tbss", "report"},
    {"store"},
    {"schedulers"},
    {"core"},
    {"errors"},
]

#: Programs of their own beside the rows: all they may import of ours is in EXCEPTIONS.
APART = {"worker"}

#: What else is allowed: who, whom (both a package or one module of it), and why.
EXCEPTIONS = [
    ("report", "tbss", "the matrix and the target table show what tbss chose"),
    ("worker", "core", "commands, orders, outcomes and records are its vocabulary"),
    ("worker", "store", "it writes its own records and logs into the run folder"),
    ("worker", "tbss.proof", "outputs are proved on the node that made them"),
    ("worker", "errors", "the bottom of every row"),
    ("cluster", "worker.wire", "both ends of a connection agree on its settings"),
    ("cluster", "worker.tasks", "what travels through Dask is named, not copied"),
    ("cluster", "worker.environment", "the mark by which a local allocation's commands are found"),
]

#: Other people's packages that come with Dask; who may import them (a package, a module, or with
#: an underscore at its end the beginning of a module's name), and why.
DASK = {"dask", "distributed", "dask_jobqueue"}
DASK_PLACES = [
    ("cluster", "the controller's side of Dask"),
    ("worker.connection", "the allocation's side of Dask"),
    ("worker.tasks", "the functions that Dask calls there"),
    ("worker.wire", "what both sides set"),
]

#: What reads the clock, files, the network or chance has no place in the core.
IMPURE = {
    "asyncio",
    "fcntl",
    "getpass",
    "glob",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "platform",
    "random",
    "resource",
    "secrets",
    "select",
    "shutil",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib",
    "uuid",
}
IMPURE_CALLS = {"open", "input", "print", "now", "today", "utcnow"}
CORE_MAY_USE = {"msgspec"}

#: Above this a file has two jobs.
MOST_LINES = 400


@dataclass(frozen=True)
class Import:
    """One import statement: `who`, on which line, asks for `whom`."""

    who: str  #: below the package: `store.records`; "" for the package itself
    line: int
    whom: str  #: dotted, as Python knows it

    @property
    def ours(self) -> str | None:
        """What it asks for below our package, or None for other people's."""
        if self.whom == PACKAGE:
            return ""
        return (
            self.whom.removeprefix(f"{PACKAGE}.") if self.whom.startswith(f"{PACKAGE}.") else None
        )


def sources() -> list[Path]:
    return sorted((ROOT / PACKAGE).rglob("*.py"))


def place(path: Path) -> str:
    parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def place_on_disk(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[Import]:
    """Find every import of a file, also those inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (Import(place(path), node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(path, node)
            for alias in node.names:
                yield Import(place(path), node.lineno, _whole_name(base, alias.name))


def _base(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    here = [PACKAGE, *path.relative_to(ROOT / PACKAGE).parent.parts]
    kept = here[: len(here) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _whole_name(base: str, name: str) -> str:
    """Tell `from store import records` (a module) from `from store import Record` (a thing)."""
    folder = ROOT.joinpath(*base.split("."))
    is_module = (folder / f"{name}.py").exists() or (folder / name).is_dir()
    return f"{base}.{name}" if is_module and within(base, PACKAGE) else base


def top(name: str) -> str:
    return name.partition(".")[0]


def within(name: str, area: str) -> bool:
    return name == area or name.startswith(f"{area}.")


def may_import(who: str, whom: str) -> bool:
    """Decide by the rows and the exceptions; both names are below our package."""
    mine, theirs = top(who), top(whom)
    if mine == theirs or not whom:
        return True
    if any(within(who, one) and within(whom, other) for one, other, _ in EXCEPTIONS):
        return True
    ranks = {name: rank for rank, row in enumerate(ROWS) for name in row}
    return mine in ranks and theirs in ranks and ranks[theirs] > ranks[mine]


def complain(problems: list[str]) -> None:
    if problems:
        # One line of the source may ask for several names.
        pytest.fail("\n".join(dict.fromkeys(problems)), pytrace=False)


def test_every_package_has_a_place_in_the_rows() -> None:
    known = APART.union(*ROWS) | {""}

    complain(
        [
            f"{place_on_disk(path)}: {top(place(path))!r} has no place in the rows of"
            " tests/unit/test_architecture.py."
            for path in sources()
            if top(place(path)) not in known
        ]
    )


def test_imports_go_down_the_rows() -> None:
    complain(
        [
            f"{place_on_disk(path)}:{found.line}: {found.who} may not import {found.ours}; imports"
            " go down the rows of docs/explanation/architecture.md (exceptions are listed in"
            " tests/unit/test_architecture.py)."
            for path in sources()
            for found in imports(path)
            if found.ours is not None and not may_import(found.who, found.ours)
        ]
    )


def test_only_the_cluster_and_the_dask_worker_import_dask() -> None:
    complain(
        [
            f"{place_on_disk(path)}:{found.line}: imports {found.whom}; only the"
            " DASK_PLACES in tests/unit/test_architecture.py know Dask."
            for path in sources()
            for found in imports(path)
            if top(found.whom) in DASK and not _knows_dask(found.who)
        ]
    )


def _knows_dask(who: str) -> bool:
    return any(
        within(who, place) or (place.endswith("_") and who.startswith(place))
        for place, _ in DASK_PLACES
    )


def test_the_core_imports_nothing_that_has_effects() -> None:
    complain(
        [
            f"{place_on_disk(path)}:{found.line}: the core imports {found.whom}; it has no files,"
            " no clock, no chance and no libraries but msgspec. Pass what it needs as an argument."
            for path in sources()
            for found in imports(path)
            if within(found.who, "core") and found.ours is None and not _pure(found.whom)
        ]
    )


def _pure(module: str) -> bool:
    name = top(module)
    return name in CORE_MAY_USE or (name in sys.stdlib_module_names and name not in IMPURE)


def test_the_core_calls_nothing_that_has_effects() -> None:
    complain(
        [
            f"{place_on_disk(path)}:{node.lineno}: the core calls {_called(node)}(); pass what it"
            " needs as an argument."
            for path in sources()
            if within(place(path), "core")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and _called(node) in IMPURE_CALLS
        ]
    )


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def test_no_file_has_two_jobs() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}

    complain(
        [
            f"{place_on_disk(path)}: {length} lines; above {MOST_LINES} a file has two jobs. Find"
            " the second one a file of its own."
            for path, length in lengths.items()
            if length > MOST_LINES
        ]
    )


@pytest.mark.parametrize(
    ("who", "whom", "allowed"),
    [
        ("cli.submit", "app.submit", True),
        ("app.submit", "core.plan", True),
        ("core.plan", "errors", True),
        ("core.plan", "store.records", False),
        ("store.records", "sites", False),
        ("report.html", "tbss.target", True),
        ("worker.slots", "tbss.proof", True),
        ("worker.slots", "tbss.pairs", False),
        ("worker.slots", "cluster.control", False),
        ("tbss.pairs", "cli.main", False),
        ("errors", "core.command", False),
    ],
)
def test_the_rows_decide(who: str, whom: str, *, allowed: bool) -> None:
    assert may_import(who, whom) is allowed


def test_an_import_inside_a_function_is_found_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / PACKAGE / "core" / "sly.py"
    path.parent.mkdir(parents=True)
    path.write_text("def f():\n    from ..store import records\n    import os.path\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)

    assert [(found.line, found.whom) for found in imports(path)] == [
        (2, "tbss_hpc.store"),
        (3, "os.path"),
    ]


#: Runs the program and says which modules of Dask it had to load.
_LOADED = """
import contextlib, sys
import tbss_hpc.cli.main
sys.argv = ["tbss-hpc", *sys.argv[1:]]
if sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        tbss_hpc.cli.main.main()
print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.skipif(
    not (ROOT / PACKAGE / "cli" / "main.py").exists(), reason="tbss_hpc/cli/main.py is not there"
)
@pytest.mark.parametrize("arguments", [[], ["--help"], ["status"], ["status", "--help"]])
def test_a_quick_look_does_not_load_dask(arguments: list[str], tmp_path: Path) -> None:
    reply = subprocess.run(
        [sys.executable, "-c", _LOADED, *arguments],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    loaded = set(reply.stdout.rpartition("loaded:")[2].split())

    assert "tbss_hpc" in loaded, reply.stderr
    assert not loaded & DASK
