"""The script of an allocation, for each site file that is shipped: what it was, to the letter."""

from __future__ import annotations

import re
from difflib import unified_diff
from pathlib import Path

import pytest

from tests.local.program import Program

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SCRIPTS = Path(__file__).with_name("scripts")


def site_files() -> list[Path]:
    return sorted([*CONFIGS.glob("*.yaml"), *CONFIGS.glob("examples/*.yaml")])


def rendered(site: Path, root: Path) -> str:
    """Rehearse a submission, and take out of the answer what differs from place to place."""
    tbss = Program(root)
    tbss.write("list", *(f"echo {number}" for number in range(5000)))
    words = ("--site", site, "--command-time", "5 min", "--run", "golden", "--dry-run")
    answer = tbss("submit", "list", *words)
    assert answer.code == 0, answer.err
    command, script = answer.out.split("\nwith this script:\n\n")
    assert re.search(r"^would run: (sbatch|bash) \S+-1-1.sh$", command, re.MULTILINE)
    script = script.replace(str(tbss.folder), "/study")
    script = re.sub(r"^exec \S+", "exec /venv/bin/python", script, flags=re.MULTILINE)
    # The middle of an allocation's name is drawn by lot.
    return re.sub(r"\btb\w{5}-1-1\b", "tbxxxxx-1-1", script)


@pytest.mark.parametrize("site", site_files(), ids=lambda path: path.stem)
def test_a_script_is_what_it_was(site: Path, tmp_path: Path) -> None:
    record = SCRIPTS / f"{site.stem}.sh"
    script = rendered(site, tmp_path)
    if not record.exists():
        record.write_text(script)
        pytest.fail(f"{record} was not there and has been written: look at it and run again")
    changes = [*unified_diff(record.read_text().splitlines(), script.splitlines(), lineterm="")]
    message = ["The script has changed:", *changes, "Delete the record file if this is normal:"]

    assert not changes, "\n".join([*message, f"rm {record}"])


def test_every_record_belongs_to_a_site_file() -> None:
    assert {path.stem for path in SCRIPTS.iterdir()} == {path.stem for path in site_files()}
