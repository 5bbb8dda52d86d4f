"""Command lists: what is a command, what it is called, and what it must leave behind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tbss_hpc.core.command import Check, Command, Output, check_for, identity
from tbss_hpc.core.commandlist import parse_list, refuse_shared_outputs, with_outputs
from tbss_hpc.errors import UsageError


def parse(content: bytes, *expected: str) -> tuple[Command, ...]:
    return parse_list(content, source="list.txt", folder="/data", expected=expected)


def texts(content: bytes) -> list[str]:
    return [command.text for command in parse(content)]


def test_each_line_is_a_command_named_by_its_number() -> None:
    assert parse(b"echo 1\necho 2\n") == (
        Command(identity("echo 1", "/data", 0), 1, "L1", "echo 1", "/data"),
        Command(identity("echo 2", "/data", 0), 2, "L2", "echo 2", "/data"),
    )


def test_blank_lines_and_comments_are_no_commands_and_keep_their_numbers() -> None:
    commands = parse(b"# a comment\n\necho 1\n   \n#echo 2\necho 3")

    assert [(c.line, c.text) for c in commands] == [(3, "echo 1"), (6, "echo 3")]


def test_a_list_from_windows_is_read_as_it_was_meant() -> None:
    assert texts(b"\xef\xbb\xbfecho 1\r\necho 2\r\n\r\n") == ["echo 1", "echo 2"]


def test_a_line_is_kept_as_its_author_wrote_it() -> None:
    assert texts("  echo 'a  b' | tee ü.txt  # why\n".encode()) == [
        "  echo 'a  b' | tee ü.txt  # why"
    ]


def test_the_same_line_twice_is_two_commands() -> None:
    first, second = parse(b"date\ndate\n")

    assert first.id == identity("date", "/data", 0)
    assert second.id == identity("date", "/data", 1)
    assert first.id != second.id


def test_edits_elsewhere_do_not_change_a_commands_identity() -> None:
    before = parse(b"echo 1\necho 2\n")[1]
    after = parse(b"# new\necho 0\n\necho 2\n")[1]

    assert after.id == before.id


@given(st.text(), st.text(), st.integers(0, 9), st.text(), st.text(), st.integers(0, 9))
def test_different_commands_have_different_identities(  # noqa: PLR0913, PLR0917 - two of each
    text: str, folder: str, occurrence: int, text2: str, folder2: str, occurrence2: int
) -> None:
    same = (text, folder, occurrence) == (text2, folder2, occurrence2)
    no_nul = "\0" not in text + folder + text2 + folder2

    if no_nul:
        ids = identity(text, folder, occurrence), identity(text2, folder2, occurrence2)
        assert (ids[0] == ids[1]) is same


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# only a comment\n"])
def test_a_list_without_a_command_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match=r"list\.txt holds no command"):
        parse(content)


def test_a_line_that_is_not_utf_8_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        parse(b"echo 1\necho J\xfcrgen\n")

    assert caught.value.what == "list.txt:2: this line is not UTF-8."
    assert caught.value.why == "byte 0xfc at position 13 of the file"


def test_a_file_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match=r"list\.txt:2: there is a NUL character"):
        parse(b"echo 1\n\0\0\n")


# -- outputs --------------------------------------------------------------------------------------


def test_outputs_are_named_by_the_words_of_the_line() -> None:
    (command,) = parse(b"fsl_reg in.nii.gz 'ref image' out -FA\n", "{3}.msf", "{3}_warp.nii.gz")

    assert command.outputs == (
        Output("out.msf", Check.NUMBERS),
        Output("out_warp.nii.gz", Check.IMAGE),
    )


def test_a_line_that_only_bash_understands_is_split_at_blanks() -> None:
    (command,) = parse(b"cp a b # don't worry\n", "{2}")

    assert command.outputs == (Output("b", Check.FILE),)


def test_a_word_that_the_line_does_not_have_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        parse(b"cp a\n", "{2}")

    assert caught.value.what == "list.txt:1: --expect '{2}' asks for word 2 of this line."
    assert caught.value.why == "its words are {0}=cp {1}=a"


@pytest.mark.parametrize(
    ("path", "check"),
    [
        ("a.nii", Check.IMAGE),
        ("a.nii.gz", Check.IMAGE),
        ("a.txt.gz", Check.GZIP),
        ("a.mat", Check.MATRIX),
        ("a.msf", Check.NUMBERS),
        ("a", Check.FILE),
    ],
)
def test_an_output_is_proved_as_its_name_says(path: str, check: Check) -> None:
    assert check_for(path) is check


def test_a_second_list_names_outputs_line_by_line() -> None:
    commands = with_outputs(parse(b"a\nb\nc\n"), b"x.nii\ty.mat\r\n\r\nz\n", source="outputs")

    assert [[o.path for o in c.outputs] for c in commands] == [["x.nii", "y.mat"], [], ["z"]]
    assert [c.id for c in commands] == [c.id for c in parse(b"a\nb\nc\n")]


def test_a_second_list_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match="outputs has 1 lines for 2 commands"):
        with_outputs(parse(b"a\nb\n"), b"x\n", source="outputs")


def test_two_commands_cannot_be_proved_by_one_output() -> None:
    with pytest.raises(UsageError) as caught:
        refuse_shared_outputs(parse(b"cp a x\ncp b x\n", "{2}"), "list.txt")

    assert caught.value.what == "list.txt:2: this command names the output of another one."
    assert caught.value.why == "x belongs to line 1 already"


def test_a_command_may_name_its_own_output_twice() -> None:
    refuse_shared_outputs(parse(b"cp a x\n", "{2}", "{2}"), "list.txt")
