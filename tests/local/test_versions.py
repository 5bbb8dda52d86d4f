"""A worker of another version than its controller's leaves, and says why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.local.program import Program


def test_a_worker_of_another_version_leaves_before_it_starts_anything(tbss: Program) -> None:
    (tbss.folder / "list.txt").write_text("true\n")
    tbss("submit", "list.txt", "--run", "one", "--wait")
    run = tbss.folder / "tbss-hpc-runs" / "one"
    offer = json.loads((run / "controller.json").read_text())
    offer |= {"over": "", "version": "0.0.1"}
    (run / "controller.json").write_text(json.dumps(offer))

    worker = subprocess.run(
        [sys.executable, "-I", "-m", "tbss_hpc.worker", "--run", run, "--allocation", "late"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert worker.returncode == 0, worker.stderr
    assert "both must be the same version" in worker.stdout
    assert '"started"' not in Path(run / "records" / "late.jsonl").read_text()
