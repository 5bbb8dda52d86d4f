"""A stand-in for FSL: an fsl_reg of bash that leaves small, valid files at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FSL_REG = """#!/bin/bash
# fsl_reg G F G_to_F -e -FA, as tbss_2_reg calls it; the "warp" is the input itself.
here=$(dirname "$0")
echo "registering $3"
echo "start $3" >> "$here/../calls"
while [ -e "$here/../holds/$3" ]; do sleep 0.1; done
[ ! -e "$here/../fails/$3" ] || exit 0  # as fsl_reg does when fnirt has failed
printf '1 0 0 0\\n0 1 0 0\\n0 0 1 0\\n0 0 0 1\\n' > "$3.mat"
cp "$1.nii.gz" "$3_warp.nii.gz"
echo "parameters" > "$3.log"
echo "$(cat "$here/../scores/$3" 2>/dev/null || echo 0.5) 0.4 " > "$3_warp.msf"
"""


class FakeFsl:
    """An FSLDIR; what its fsl_reg does can be changed between and during runs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for name in ("bin", "etc", "fails", "holds", "scores"):
            (home / name).mkdir(parents=True)
        (home / "etc" / "fslversion").write_text("6.0.7\n")
        program = home / "bin" / "fsl_reg"
        program.write_text(_FSL_REG)
        program.chmod(0o755)

    def holds(self, *pairs: str) -> None:
        """Let the registration of these pairs last until they are let go."""
        for pair in pairs:
            (self.home / "holds" / pair).touch()

    def lets_go(self) -> None:
        for path in (self.home / "holds").iterdir():
            path.unlink()

    def fails_at(self, pair: str) -> None:
        (self.home / "fails" / pair).touch()

    def scores(self, pair: str, score: float) -> None:
        (self.home / "scores" / pair).write_text(str(score))

    def calls(self) -> list[str]:
        """Give the pairs that were registered since the last look, in order."""
        log = self.home / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return [line.split()[1] for line in lines]
