"""The reference, the architecture and the decisions say what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tbss_hpc.app.planning import Wishes, make_plan
from tbss_hpc.app.work import Work
from tbss_hpc.core.site import Site
from tbss_hpc.core.status import Status
from tbss_hpc.report.progress import plan_as_dict
from tbss_hpc.report.tables import ATTEMPT_COLUMNS, STATUS_COLUMNS
from tbss_hpc.store.folder import RunFolder
from tests.docs.pages import REFERENCE, ROOT, blocks, complain, rows, sections
from tests.unit import test_architecture

ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
DECISIONS = ROOT / "docs" / "decisions"

#: What it holds does not matter here, only how its fields are called.
PLAN = make_plan(Work(()), Site(scheduler="local", cores=2), Wishes())


# -- JSON -------------------------------------------------------------------------------------


def fields_of(struct: type[msgspec.Struct], prefix: str = "") -> list[str]:
    """Name the fields of a struct as the page does: `counts.total`, `allocations[].name`."""
    names = []
    for field in msgspec.structs.fields(struct):
        name = prefix + field.name
        names.append(name)
        inner = [one for one in (field.type, *get_args(field.type)) if _is_struct(one)]
        dots = "[]." if str(field.type).startswith("list[") else "."
        names += [one for kind in inner for one in fields_of(kind, name + dots)]
    return names


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ("tbss-hpc status --json", fields_of(Status)),
        ("tbss-hpc plan --json", list(plan_as_dict(PLAN))),
    ],
)
def test_every_field_of_the_json_is_documented(section: str, fields: list[str]) -> None:
    table = rows(sections(REFERENCE / "status-json.md")[section])

    assert [row[0] for row in table] == fields
    assert all(len(row) == 3 and all(row) for row in table)


# -- the run folder ---------------------------------------------------------------------------


def test_every_file_of_a_run_is_documented() -> None:
    root = Path("/run")
    folder = RunFolder(root)
    paths = [path for path in vars(folder).values() if isinstance(path, Path) and path != root]
    documented = {row[0] for row in rows((REFERENCE / "run-folder.md").read_text(encoding="utf-8"))}

    complain(
        [
            f"docs/reference/run-folder.md does not name {path.relative_to(root)}."
            for path in paths
            if not documented & {str(path.relative_to(root)), f"{path.relative_to(root)}/"}
        ]
    )


@pytest.mark.parametrize(
    ("table", "columns"),
    [("status.tsv", STATUS_COLUMNS), ("attempts.tsv", ATTEMPT_COLUMNS)],
)
def test_every_column_is_documented(table: str, columns: tuple[str, ...]) -> None:
    found = rows(sections(REFERENCE / "run-folder.md")[f"Columns of {table}"])

    assert tuple(row[0] for row in found) == columns
    assert all(len(row) == 3 and all(row) for row in found)


# -- the architecture -------------------------------------------------------------------------


def tree() -> dict[str, str]:
    """Give what the drawn tree says of each entry below `tbss_hpc/`."""
    drawn = next(block for block in blocks(ARCHITECTURE, "text") if "tbss_hpc/\n" in block)
    parts = re.split(r"^[├└]── (\S+)", drawn, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_tree_names_every_package() -> None:
    there = {f"{path.parent.name}/" for path in (ROOT / "tbss_hpc").glob("*/__init__.py")} | {
        "errors.py"
    }

    assert set(tree()) == there


def test_every_module_of_the_tree_exists() -> None:
    complain(
        [
            f"docs/explanation/architecture.md: there is no tbss_hpc/{package}{module}."
            for package, text in tree().items()
            for module in re.findall(r"\w+\.py", text)
            if not (ROOT / "tbss_hpc" / package / module).is_file()
        ]
    )


def test_the_rows_are_those_of_the_import_rules() -> None:
    (drawn,) = blocks(ARCHITECTURE, "rows")

    assert [set(line.split()) for line in drawn.splitlines()] == test_architecture.ROWS


def test_the_exceptions_are_those_of_the_import_rules() -> None:
    table = rows(sections(ARCHITECTURE)["Packages"])
    known = [(who, whom) for who, whom, _ in test_architecture.EXCEPTIONS]

    assert [(who, whom.strip("`")) for who, whom, _ in table] == known


# -- decisions --------------------------------------------------------------------------------


def decisions() -> list[Path]:
    return sorted(DECISIONS.glob("[0-9]*.md"))


@pytest.mark.parametrize("page", decisions(), ids=lambda page: page.stem[:4])
def test_a_decision_is_one_page_with_four_parts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    number = int(page.stem[:4])

    assert text.startswith(f"# {number}. ")
    assert list(sections(page)) == [
        "Context",
        "Decision",
        "Consequences",
        "What would change our mind",
    ]
    assert len(text.splitlines()) <= 40


def test_decisions_are_numbered_and_listed() -> None:
    listed = re.findall(
        r"^(\d+)\. \[(.*)\]\((.*)\)$", (DECISIONS / "README.md").read_text(), re.MULTILINE
    )
    titles = [page.read_text(encoding="utf-8").splitlines()[0] for page in decisions()]

    assert [f"# {number}. {title}" for number, title, _ in listed] == titles
    assert [name for *_, name in listed] == [page.name for page in decisions()]
    assert [int(number) for number, *_ in listed] == list(range(1, len(listed) + 1))


def test_decisions_that_the_code_names_exist() -> None:
    numbers = {int(page.stem[:4]) for page in decisions()}

    complain(
        [
            f"{path.relative_to(ROOT)} names decision {number}, which has no page."
            for path in sorted((ROOT / "tbss_hpc").rglob("*.py"))
            for number in re.findall(r"decision (\d+)", path.read_text(encoding="utf-8"))
            if int(number) not in numbers
        ]
    )
