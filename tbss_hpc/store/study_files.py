"""What we keep inside a study: who has claimed it, and what was proved of its pairs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from tbss_hpc.core.command import Fingerprint
from tbss_hpc.errors import FilesError
from tbss_hpc.store.atomic import create_file, replace_file
from tbss_hpc.store.lines import LineReader, LineWriter


class Claim(Struct, frozen=True):
    """The run that a study belongs to."""

    run: str  #: the run folder


class PairProof(Struct, frozen=True):
    """What made a pair count, so that a later run need not make it again."""

    pair: str
    engine: str  #: name and version
    inputs: dict[str, str]  #: digest of each input's content
    outputs: tuple[Fingerprint, ...]
    seconds: float = 0.0  #: that it took; 0 where it was found done


_PROOFS: msgspec.json.Decoder[PairProof] = msgspec.json.Decoder(PairProof)


class StudyFiles:
    """The hidden folder `.tbss-hpc` in a study's `FA/`."""

    def __init__(self, fa: Path) -> None:
        """Stand for the files of the study with this `FA/` folder."""
        self._folder = fa / ".tbss-hpc"
        self._claim = self._folder / "claim.json"
        self._proofs = self._folder / "proofs.jsonl"

    def claim(self, run: Path) -> Claim | None:
        """Claim the study for a run; give the claim that is in the way, if there is one.

        Raises FilesError if the study cannot be written.
        """
        content = msgspec.json.encode(Claim(str(run)))
        try:
            self._folder.mkdir(exist_ok=True)
            while not create_file(self._claim, content):
                # It may be given back between our two looks.
                if (other := self.claimed()) is not None:
                    return other
        except OSError as error:
            raise FilesError(
                "The study cannot be written.",
                why=f"{self._folder}: {error.strerror}",
                fix="registrations write into FA/: work on a copy of the study that you own",
            ) from error
        return None

    def claimed(self) -> Claim | None:
        """Say which run claims the study. Raises FilesError if that cannot be read."""
        try:
            return msgspec.json.decode(self._claim.read_bytes(), type=Claim)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise FilesError(
                "It cannot be read which run works on this study.",
                why=f"{self._claim}: {error}",
                fix="try again; if it stays so and no run works on the study, remove that file",
            ) from error

    def take_over(self, run: Path) -> None:
        """Claim the study in place of a run that is over."""
        replace_file(self._claim, msgspec.json.encode(Claim(str(run))))

    def release(self, run: Path) -> None:
        """Give the study back, if it is this run's."""
        claim = self.claimed()
        if claim is not None and claim.run == str(run):
            self._claim.unlink(missing_ok=True)

    def proofs(self) -> dict[str, PairProof]:
        """Give the newest proof of each pair."""
        return {proof.pair: proof for proof in LineReader(self._proofs, _PROOFS).new()}

    def add_proofs(self, proofs: Iterable[PairProof]) -> None:
        """Keep proofs of pairs. Raises OSError if the study takes nothing."""
        with LineWriter(self._proofs) as writer:
            writer.append(proofs)
