"""How many CPUs there are, by affinity and by the limits of control groups of either version."""

import os
from pathlib import Path

import pytest

from greenhorn.config.cpus import available_cpus, granted_cpus, worker_count

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def system(root: Path, membership: str, **files: str) -> tuple[Path, Path]:
    """Write /proc/self/cgroup and files below /sys/fs/cgroup, `__` for `/` in their names; return both paths."""
    hierarchy = root / "cgroup"
    for name, content in files.items():
        path = hierarchy / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cpu_cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (root / "membership").write_text(membership)
    return root / "membership", hierarchy


@pytest.mark.parametrize(
    ("content", "granted"),
    [
        ("150000 100000\n", 1.5),
        ("50000 100000\n", 0.5),
        ("400000 100000\n", 4.0),
        ("max 100000\n", None),
        ("", None),
        ("nonsense", None),
        ("100000 0", None),
        ("100000 100000 100000", None),
    ],
)
def test_version_2_has_quota_and_period_in_one_file(tmp_path: Path, content: str, granted: float | None):
    assert granted_cpus(*system(tmp_path, "0::/\n", cpu_max=content)) == granted


def test_the_lowest_limit_of_all_ancestors_counts(tmp_path: Path):
    limits = {"a__b__c__cpu_max": "max 100000", "a__b__cpu_max": "300000 100000", "a__cpu_max": "250000 100000"}
    assert granted_cpus(*system(tmp_path, "0::/a/b/c\n", **limits)) == 2.5
    limits["a__b__c__cpu_max"] = "100000 100000"
    assert granted_cpus(*system(tmp_path, "0::/a/b/c\n", **limits)) == 1.0
    assert granted_cpus(*system(tmp_path, "0::/a\n", **limits)) == 2.5
    assert granted_cpus(*system(tmp_path, "0::/other\n", **limits)) is None


def test_a_group_that_a_container_cannot_see_leaves_the_one_it_sees(tmp_path: Path):
    assert granted_cpus(*system(tmp_path, "0::/docker/4711\n", cpu_max="200000 100000")) == 2.0


def test_a_group_outside_of_the_namespace_does_not_lead_out_of_the_hierarchy(tmp_path: Path):
    (tmp_path / "cpu.max").write_text("100000 100000")
    assert granted_cpus(*system(tmp_path, "0::/../\n", cpu_max="200000 100000")) == 2.0


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_version_1_has_two_files_under_either_name(tmp_path: Path, folder: str):
    files = {f"{folder}__cpu_cfs_quota_us": "250000\n", f"{folder}__cpu_cfs_period_us": "100000\n"}
    membership = "11:memory:/docker/4711\n4:cpu,cpuacct:/docker/4711\n1:name=systemd:/docker/4711\n0::/\n"
    assert granted_cpus(*system(tmp_path, membership, **files)) == 2.5


def test_version_1_walks_up_as_well_and_knows_no_limit(tmp_path: Path):
    files = {
        "cpu__a__b__cpu_cfs_quota_us": "-1",
        "cpu__a__b__cpu_cfs_period_us": "100000",
        "cpu__a__cpu_cfs_quota_us": "120000",
        "cpu__a__cpu_cfs_period_us": "100000",
    }
    assert granted_cpus(*system(tmp_path, "3:cpuset:/x\n2:cpuacct:/a/b\n1:cpu:/a/b\n", **files)) == 1.2
    assert granted_cpus(*system(tmp_path, "2:cpuacct:/a/b\n1:cpuset:/a/b\n", **files)) is None


@pytest.mark.parametrize("membership", ["", "\n", "no colons\n", "0::\n"])
def test_a_system_without_control_groups_grants_everything(tmp_path: Path, membership: str):
    assert granted_cpus(*system(tmp_path, membership)) is None
    assert granted_cpus(tmp_path / "missing", tmp_path / "missing") is None
    assert available_cpus(tmp_path / "missing", tmp_path / "missing") == ALLOWED


@pytest.mark.parametrize(("quota", "count"), [("1000", 1), ("100000", 1), ("100000000", ALLOWED)])
def test_a_fraction_of_a_cpu_counts_as_one_and_affinity_is_the_most(tmp_path: Path, quota: str, count: int):
    assert available_cpus(*system(tmp_path, "0::/\n", cpu_max=f"{quota} 100000")) == count


def test_one_and_a_half_cpus_are_two_where_there_are_two(tmp_path: Path):
    assert available_cpus(*system(tmp_path, "0::/\n", cpu_max="150000 100000")) == min(2, ALLOWED)


@pytest.mark.parametrize(
    ("value", "count"), [("auto", available_cpus()), (" Auto ", available_cpus()), ("3", 3), (0, 0)]
)
def test_workers_are_a_number_or_auto(value: object, count: int):
    assert worker_count(value) == count


@pytest.mark.parametrize("value", ["many", -1, 1.5, None, True, "", "auto auto"])
def test_what_is_no_number_of_workers_is_refused(value: object):
    with pytest.raises(
        ValueError, match=r"must be a whole number, 0 or more, or auto for the number of available CPUs"
    ):
        worker_count(value)
