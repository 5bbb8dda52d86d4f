"""What is kept in a study: one claim at most, and the newest proof of each pair."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from tbss_hpc.core.command import Fingerprint
from tbss_hpc.errors import FilesError
from tbss_hpc.store.study_files import Claim, PairProof, StudyFiles

ONE, TWO = Path("/runs/one"), Path("/runs/two")
PROOF = PairProof(
    pair="G_to_F",
    engine="fsl 6.0.0",
    inputs={"F.nii.gz": "d1", "G.nii.gz": "d2"},
    outputs=(Fingerprint("G_to_F_warp.nii.gz", 10, 20),),
)


@pytest.fixture
def files(tmp_path: Path) -> StudyFiles:
    return StudyFiles(tmp_path)


def test_a_study_belongs_to_the_run_that_claims_it_first(files: StudyFiles) -> None:
    assert files.claimed() is None
    assert files.claim(ONE) is None
    assert files.claim(TWO) == Claim(str(ONE))
    assert files.claimed() == Claim(str(ONE))


def test_a_run_may_claim_its_study_again(files: StudyFiles) -> None:
    files.claim(ONE)

    assert files.claim(ONE) == Claim(str(ONE))


def test_a_study_that_was_given_back_is_free(files: StudyFiles) -> None:
    files.claim(ONE)
    files.release(ONE)

    assert files.claim(TWO) is None


def test_a_run_cannot_give_back_what_another_one_has(files: StudyFiles) -> None:
    files.claim(ONE)
    files.release(TWO)

    assert files.claimed() == Claim(str(ONE))


def test_the_study_of_a_run_that_is_over_can_be_taken_over(files: StudyFiles) -> None:
    files.claim(ONE)
    files.take_over(TWO)

    assert files.claimed() == Claim(str(TWO))


def test_a_claim_that_was_given_back_while_we_looked_is_made(
    files: StudyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.claim(ONE)
    look = StudyFiles.claimed

    def given_back_just_before(this: StudyFiles) -> Claim | None:
        monkeypatch.setattr(StudyFiles, "claimed", look)
        this.release(ONE)
        return this.claimed()

    monkeypatch.setattr(StudyFiles, "claimed", given_back_just_before)

    assert files.claim(TWO) is None
    assert files.claimed() == Claim(str(TWO))


def test_a_claim_that_cannot_be_read_is_told(files: StudyFiles, tmp_path: Path) -> None:
    files.claim(ONE)
    (tmp_path / ".tbss-hpc" / "claim.json").write_bytes(b"")

    with pytest.raises(FilesError, match="It cannot be read which run works on this study"):
        files.claim(TWO)


def test_a_study_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(FilesError, match="The study cannot be written"):
        StudyFiles(tmp_path / "nowhere").claim(ONE)


def test_a_study_without_proofs_has_none(files: StudyFiles) -> None:
    assert files.proofs() == {}


def test_the_newest_proof_of_a_pair_counts(files: StudyFiles) -> None:
    files.claim(ONE)
    other = structs.replace(PROOF, pair="F_to_G")
    newer = structs.replace(PROOF, engine="greedy 1.4")
    files.add_proofs([PROOF, other])
    files.add_proofs([newer])

    assert files.proofs() == {"G_to_F": newer, "F_to_G": other}


def test_a_torn_proof_costs_no_other(files: StudyFiles, tmp_path: Path) -> None:
    files.claim(ONE)
    files.add_proofs([PROOF])
    with (tmp_path / ".tbss-hpc" / "proofs.jsonl").open("ab") as file:
        file.write(b'{"pair":"F_to')
    files.add_proofs([structs.replace(PROOF, pair="F_to_F")])

    assert set(files.proofs()) == {"G_to_F", "F_to_F"}
