"""Site files: YAML in, values with their lines out, or one complaint about everything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tbss_hpc.core.site import KEYS, Site
from tbss_hpc.errors import UsageError
from tbss_hpc.sites import read_site
from tbss_hpc.sites.fields import FIELDS


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "site.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def values(folder: Path, text: str) -> dict[str, object]:
    return {key: given.value for key, given in read_site(write(folder, text)).values.items()}


def complaints(folder: Path, content: str | bytes) -> list[str]:
    """Give the lines of the complaint about a file, without its path."""
    path = write(folder, content)
    with pytest.raises(UsageError) as refusal:
        read_site(path)
    return [line.removeprefix(f"{path}:") for line in refusal.value.why.splitlines()]


def test_every_key_of_a_site_can_be_written() -> None:
    assert tuple(FIELDS) == KEYS


def test_scalars_arrive_as_they_were_written(tmp_path: Path) -> None:
    text = "walltime: 12:30:00\naccount: 0123\nqueue: no\nqos: 1e3\n"

    assert values(tmp_path, text) == {
        "walltime": 45000.0,
        "account": "0123",
        "queue": "no",
        "qos": "1e3",
    }


def test_every_value_knows_its_file_and_line(tmp_path: Path) -> None:
    file = read_site(write(tmp_path, "# a comment\nscheduler: slurm\n\nsetup:\n  - a\n  - b\n"))

    assert file.scheduler == "slurm"
    assert file.values["scheduler"].origin == f"{tmp_path}/site.yaml:2"
    assert file.values["setup"].origin == f"{tmp_path}/site.yaml:4"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("setup:\n  - module load fsl\n  - export A=b\n", ("module load fsl", "export A=b")),
        ("setup: module load fsl\n", ("module load fsl",)),
        (
            "setup: |\n  if true; then\n    module load fsl\n  fi\n\n",
            ("if true; then", "  module load fsl", "fi"),
        ),
        ("setup: ['export A=\"b: c\"']\n", ('export A="b: c"',)),
    ],
)
def test_lines_are_written_as_a_list_or_one_line_or_a_block(
    tmp_path: Path, text: str, lines: tuple[str, ...]
) -> None:
    assert values(tmp_path, text) == {"setup": lines}


def test_a_directive_may_be_copied_from_a_script(tmp_path: Path) -> None:
    text = "directives:\n  - '#SBATCH --exclusive'\n  - --comment=x\n"

    assert values(tmp_path, text) == {"directives": ("--exclusive", "--comment=x")}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "# nothing\n",
        "---\n",
        "{}\n",
        "queue:\n",
        "setup:\n  # - module load fsl\n",
        "queue: ''",
    ],
)
def test_what_is_left_empty_is_not_set(tmp_path: Path, content: str) -> None:
    assert values(tmp_path, content) == {}


def test_a_file_from_windows_is_read(tmp_path: Path) -> None:
    file = read_site(write(tmp_path, b"\xef\xbb\xbfqueue: short\r\nmemory: 8G\r\n"))

    assert file.values["queue"].value == "short"
    assert file.values["memory"].origin.endswith(":2")


def test_a_comment_may_hold_any_letter(tmp_path: Path) -> None:
    assert values(tmp_path, "mail: jörg@uni.de  # Grüße 🧠\n") == {"mail": "jörg@uni.de"}


def test_one_complaint_lists_everything_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = "walltime: 12:30\ncores_per_command: 2\nmemory: 8000\nmemory: 8G\nqueue: [a, b]\n"

    assert [line.split(" ")[0] for line in complaints(tmp_path, text)] == [
        "1:",
        "2:",
        "3:",
        "4:",
        "5:",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cores_per_command: 2", "1: cores_per_command: there is no such key; did you mean"),
        ("partition: a", "1: partition: there is no such key"),
        ("wall-time: 1 h", "did you mean `walltime`?"),
        ("queue: a\n\nqueue: b", "3: queue: is set again; it was set on line 1"),
        ("queue: [a]", "1: queue: expected one value here"),
        ("queue:\n  name: a", "2: queue: expected one value here"),
        ("setup: {a: b}", "1: setup: expected a list"),
        ("setup:\n  - a\n  - b: c", "3: setup: expected plain text in each entry"),
        ("setup:\n  - a\n  - [c]", "3: setup: expected plain text in each entry"),
        ("directives:\n  - --a\n  - #SBATCH --b", "3: directives: has an empty entry; '#' starts"),
        ("cores: 4.5", "1: cores: '4.5' is not a whole number"),
        ("cores: all", "1: cores: 'all' is not a whole number"),
        ("memory: lots", "1: memory: 'lots' is not an amount of memory; write for example 8G"),
        ("walltime: 12:30", "1: walltime: '12:30' may be hours and minutes or"),
        ("walltime: 90", "1: walltime: '90' has no unit"),
        ("idle: 30", "1: idle: '30' has no unit"),
        ("scheduler: slrum", "1: scheduler: 'slrum' is not one of slurm, pbs, sge, local"),
        ("ports: many", "1: ports: 'many' is not a range of ports, such as 40000-40100"),
        ("core-hours: -5", "1: core-hours: '-5' is not a number of core-hours"),
        ("queue: !secret a", "1: queue: !secret means nothing here"),
        ("queue: ' '", "1: queue: is empty"),
        ("? [a, b]\n: c", "1: ?: there is no such key"),
        ("<<: {queue: a}", "1: <<: there is no such key"),
        ("- queue: a", "1: expected lines of the form `key: value`"),
        ("slurm", "1: expected lines of the form `key: value`"),
        ("queue: a\n\tcores: 4", "2: has a tab where YAML wants spaces"),
        ("queue: a\nmail: b: c", "2: is not YAML: a second colon, or wrong indentation"),
        ("queue: 'a\ncores: 4", "is not YAML"),
        ("queue: [a", "is not YAML"),
        ("queue: *a", "1: is not YAML"),
        ("queue: a\n---\nqueue: b", "2: is not YAML"),
        ("queue: a\ncores: \x00", "2: holds a character that is no text (U+0000)"),
        ("queue: " + "[" * 3000, "is not YAML that anybody could read"),
    ],
)
def test_a_wrong_line_is_named_with_what_was_expected(
    tmp_path: Path, text: str, complaint: str
) -> None:
    [line] = complaints(tmp_path, text)

    assert complaint in line


def test_a_file_in_another_encoding_is_refused_with_the_line(tmp_path: Path) -> None:
    content = "queue: a\nmail: jörg@uni.de\n".encode("latin-1")

    assert complaints(tmp_path, content) == ["2: is not UTF-8 text; save the file as UTF-8"]


def test_a_picture_is_no_site_file(tmp_path: Path) -> None:
    assert "UTF-8" in complaints(tmp_path, bytes(range(256)) * 10)[0]


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be read") as refusal:
        read_site(tmp_path / name)

    assert refusal.value.why in {"No such file or directory", "Is a directory"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.chmod(0)

    with pytest.raises(UsageError, match="cannot be read"):
        read_site(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    st.text() | st.lists(st.sampled_from([*KEYS, *": -[]{}'\"\n|>&*!#?,8", "8G", "a"])).map("".join)
)
def test_no_text_is_a_reason_to_crash(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text.encode(errors="surrogatepass"))
    try:
        file = read_site(path)
    except UsageError as refusal:
        assert str(path) in refusal.why  # noqa: PT017 - either way is right; a crash is not
    else:
        assert set(file.values) <= {*KEYS}


def test_the_defaults_of_a_site_are_values_that_can_be_written() -> None:
    site = Site(scheduler="local")
    for key, field in FIELDS.items():
        value = getattr(site, key.replace("-", "_"))
        if value is not None and not field.is_list:
            assert field.read(field.write(value)) == value
