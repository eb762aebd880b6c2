"""Out-of-memory kills, as the files of control groups count them."""

from pathlib import Path

import pytest

from greenhorn.master.memory import OomCounter

V2 = "low 0\nhigh 3\nmax 12\noom 9\noom_kill {}\noom_group_kill 0\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


class Groups:
    """A tree of files that looks like the kernel's."""

    def __init__(self, folder: Path) -> None:
        self.membership = folder / "membership"
        self.hierarchy = folder / "hierarchy"

    def belong(self, *lines: str) -> None:
        self.membership.write_text("".join(f"{line}\n" for line in lines), "ascii")

    def write(self, file: str, text: str) -> None:
        path = self.hierarchy / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "ascii")

    def counter(self) -> OomCounter:
        return OomCounter(self.membership, self.hierarchy)


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    return Groups(tmp_path)


@pytest.mark.parametrize(
    ("membership", "file", "text"),
    [
        ("0::/system.slice/shop.service", "system.slice/shop.service/memory.events", V2),
        ("0::/", "memory.events", V2),
        ("4:memory:/docker/abc", "memory/docker/abc/memory.oom_control", V1),
        ("4:cpu,memory:/", "memory/memory.oom_control", V1),
    ],
)
def test_a_kill_is_told_once(groups: Groups, membership: str, file: str, text: str):
    groups.belong("9:name=systemd:/", membership)
    groups.write(file, text.format(5))
    counter = groups.counter()
    assert not counter.killed()
    groups.write(file, text.format(7))
    assert counter.killed()
    assert not counter.killed()
    groups.write(file, text.format(8))
    assert counter.killed()


def test_the_nearest_group_counts(groups: Groups):
    groups.belong("0::/slice/service")
    groups.write("slice/memory.events", V2.format(0))
    groups.write("slice/service/memory.events", V2.format(0))
    counter = groups.counter()
    groups.write("slice/memory.events", V2.format(1))
    assert not counter.killed()
    groups.write("slice/service/memory.events", V2.format(1))
    assert counter.killed()


@pytest.mark.parametrize("membership", ["0::/kubepods/pod1/abc", "0::/../sibling"])
def test_a_group_outside_of_the_containers_view_is_found_at_the_mount(groups: Groups, membership: str):
    groups.belong(membership)
    groups.write("memory.events", V2.format(0))
    counter = groups.counter()
    groups.write("memory.events", V2.format(1))
    assert counter.killed()


def test_version_1_counts_where_version_2_has_no_memory_controller(groups: Groups):
    groups.belong("4:memory:/", "0::/")
    groups.write("cgroup.procs", "")
    groups.write("memory/memory.oom_control", V1.format(0))
    counter = groups.counter()
    groups.write("memory/memory.oom_control", V1.format(1))
    assert counter.killed()


@pytest.mark.parametrize("text", ["", "oom_kill many\n", "oom_kill_disable 0\nunder_oom 0\n"])
def test_a_file_that_does_not_tell_is_no_kill(groups: Groups, text: str):
    groups.belong("0::/")
    groups.write("memory.events", text)
    counter = groups.counter()
    assert not counter.killed()
    groups.write("memory.events", V2.format(1))
    assert not counter.killed()


def test_without_control_groups_nothing_is_told(groups: Groups):
    assert not groups.counter().killed()


def test_a_group_that_goes_away_is_no_kill(groups: Groups):
    groups.belong("0::/")
    groups.write("memory.events", V2.format(2))
    counter = groups.counter()
    (groups.hierarchy / "memory.events").unlink()
    assert not counter.killed()


def test_the_group_of_this_process_had_no_kill_just_now():
    assert not OomCounter().killed()
