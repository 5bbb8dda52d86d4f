"""From files and options to a site, and back to a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tbss_hpc.core.site import KEYS, Site, slots
from tbss_hpc.errors import UsageError
from tbss_hpc.sites import Resolved, Value, as_yaml, load_site, packaged_folder, read_site, resolve

SLURM = "scheduler: slurm\ncores: 4\nmemory: 8G\nwalltime: 4 h\nqueue: short\n"


def load(folder: Path, text: str = SLURM, scheduler: str | None = None, **options: str) -> Resolved:
    path = folder / "site.yaml"
    path.write_text(text)
    return load_site(
        scheduler=scheduler, named=path, options=options, environ={}, cwd=folder, home=folder
    )


def test_options_win_and_every_value_knows_where_it_comes_from(tmp_path: Path) -> None:
    resolved = load(tmp_path, queue="long", workers="20")

    assert resolved.site == Site(
        scheduler="slurm", cores=4, memory=8 << 30, walltime=14400.0, queue="long", workers=20
    )
    assert resolved.origins["queue"] == "--queue"
    assert resolved.origins["memory"] == f"{tmp_path}/site.yaml:3"
    assert resolved.origins["idle"] == "default"
    assert tuple(resolved.origins) == KEYS


def test_options_may_be_named_as_fields_or_as_keys(tmp_path: Path) -> None:
    assert load(tmp_path, cores_per_command="2").origins["cores-per-command"] == (
        "--cores-per-command"
    )


def test_the_number_of_allocations_depends_on_the_scheduler(tmp_path: Path) -> None:
    assert load(tmp_path).site.workers == 10
    assert load(tmp_path, "scheduler: local\n").site.workers == 1


def test_a_file_may_leave_the_scheduler_to_the_option(tmp_path: Path) -> None:
    resolved = load(tmp_path, "cores: 4\nmemory: 8G\nwalltime: 4 h\n", scheduler="slurm")

    assert resolved.site.scheduler == "slurm"
    assert resolved.origins["scheduler"] == "--scheduler"
    assert resolved.site.workers == 10


def test_a_cluster_without_its_scheduler_is_not_run_on_this_machine(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="scheduler: slurm"):
        load(tmp_path, "queue: short\nwalltime: 4 h\n")


def test_wrong_options_are_named_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        load(tmp_path, workers="many", walltime="90")

    assert [line.split(":")[0] for line in refusal.value.why.splitlines()] == [
        "--workers",
        "--walltime",
    ]


def test_an_unknown_scheduler_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="slurm, pbs, sge, local"):
        load(tmp_path, scheduler="lsf")


def test_values_that_do_not_go_together_are_named_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        load(tmp_path, cores_per_command="5")

    assert refusal.value.why.startswith(f"--cores-per-command, {tmp_path}/site.yaml:2: ")


def test_directives_that_undo_ours_are_refused_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        load(tmp_path, SLURM + "directives: --time=5\n")

    assert refusal.value.why == (
        f"{tmp_path}/site.yaml:6: directives: --time is set by tbss-hpc; use the key `walltime`"
    )


def test_a_site_is_written_with_the_origin_of_each_value(tmp_path: Path) -> None:
    text = as_yaml(load(tmp_path, SLURM + "setup: [module load fsl]\n", queue="long"))

    assert re.search(r"^queue: long +# --queue$", text, re.MULTILINE)
    assert re.search(r"^walltime: 04:00:00 +# \S+/site\.yaml:4$", text, re.MULTILINE)
    assert re.search(r"^setup: +# \S+/site\.yaml:6\n  - module load fsl$", text, re.MULTILINE)
    assert re.search(r"^# account: is not set$", text, re.MULTILINE)


#: Words as strange as a site file may hold.
WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)
LINES = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1).filter(
    lambda line: line.strip() == line != ""
)
WHOLE = st.integers(1, 10**6)
SITES = st.builds(
    Site,
    scheduler=st.just("slurm"),
    queue=st.none() | WORDS,
    constraint=st.none() | WORDS,
    cores=st.just(10**6),
    memory=WHOLE.map(lambda k: k << 30),
    walltime=WHOLE.map(float),
    cores_per_command=WHOLE,
    setup=st.lists(LINES).map(tuple),
    environment=st.lists(st.from_regex(r"[A-Z_*]+", fullmatch=True)).map(tuple),
    ports=st.none() | st.tuples(st.integers(1024, 2000), st.integers(2000, 65535)),
    core_hours=st.none() | WHOLE.map(float),
    idle=st.floats(0, 1e6).map(lambda s: round(s, 3)),
    lease=WHOLE.map(float),
    workers=WHOLE,
)


@given(SITES)
def test_a_site_that_was_written_reads_back_as_the_same(
    tmp_path_factory: pytest.TempPathFactory, site: Site
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    path.write_text(as_yaml(Resolved(site, dict.fromkeys(KEYS, "a: 'b' # c"))), encoding="utf-8")

    assert resolve([read_site(path).values]).site == site


def test_the_last_layer_wins() -> None:
    below = {"workers": Value(3, "below"), "idle": Value(5.0, "below")}
    above = {"workers": Value(4, "above")}

    resolved = resolve([below, above])

    assert (resolved.site.workers, resolved.site.idle) == (4, 5.0)
    assert (resolved.origins["workers"], resolved.origins["idle"]) == ("above", "below")


# -- the files that come with tbss-hpc ----------------------------------------------------------

SHIPPED = sorted(packaged_folder().rglob("*.yaml"))


def test_site_files_are_shipped() -> None:
    assert {"local.yaml", "slurm.yaml"} < {path.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_site_file_can_be_used_as_it_is(path: Path, tmp_path: Path) -> None:
    resolved = load(tmp_path, path.read_text())

    if resolved.site.scheduler != "local":
        assert slots(resolved.site) >= 1


@pytest.mark.parametrize("name", ["local.yaml", "slurm.yaml"])
def test_what_is_commented_out_in_a_shipped_site_file_can_be_used(
    name: str, tmp_path: Path
) -> None:
    text = (packaged_folder() / name).read_text()
    commented_in = re.sub(
        r"^( *)# ((?:[a-z-]+:(?: |$))|(?: *- ))", r"\1\2", text, flags=re.MULTILINE
    )

    assert commented_in != text
    assert load(tmp_path, commented_in).site.setup != ()


def test_the_readme_names_every_key_and_no_other() -> None:
    text = (packaged_folder() / "README.md").read_text()
    keys = text.partition("## Keys")[2]
    rows = re.findall(r"^\| `([a-z-]+)` \|", keys, re.MULTILINE)

    assert sorted(rows) == sorted(KEYS)


def test_the_readme_tells_the_defaults() -> None:
    rows = (packaged_folder() / "README.md").read_text().splitlines()
    site = Site(scheduler="slurm")
    told = {
        cells[1].strip(" `"): cells[3].strip()
        for row in rows
        if len(cells := row.replace(r"\|", "").split("|")) > 5
    }

    assert told["idle"] == "`1 min`"
    assert site.idle == 60.0
    assert told["lease"] == "`10 min`"
    assert site.lease == 600.0
    assert told["controller-patience"] == "`10 min`"
    assert site.controller_patience == 600.0
    assert told["start-patience"] == "`5 min`"
    assert site.start_patience == 300.0
    assert told["submissions-per-minute"] == f"`{site.submissions_per_minute}`"
    assert told["cores-per-command"] == f"`{site.cores_per_command}`"


def test_the_readme_lists_every_shipped_file() -> None:
    text = (packaged_folder() / "README.md").read_text()

    for path in SHIPPED:
        assert f"({path.relative_to(packaged_folder())})" in text


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_site_file_is_plain_yaml(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)
