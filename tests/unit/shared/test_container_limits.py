"""Limits of memory and processor time, in trees like those of real containers."""

import os
from pathlib import Path

import pytest

from shared.container_limits import cpu_quota, memory_limit, usable_cores
from shared.setting_fields import machine as machine_limits
from shared.settings import load_settings

GIB = 1024**3
#: What version 1 shows where nothing is limited.
NO_LIMIT_V1 = "9223372036854771712"
V2_MOUNT = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1_MEMORY = "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
V1_CPU = "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
HYBRID = "36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"


class Tree:
    """A file tree with `proc` and `sys`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def process(self, groups: str, *mounts: str) -> None:
        self.write("proc/self/cgroup", groups)
        self.write(
            "proc/self/mountinfo", "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + "\n".join(mounts)
        )

    def write(self, path: str, text: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text + "\n")

    def group(self, path: str, **files: str) -> None:
        """Write files below /sys/fs/cgroup; underscores of the first word are dots."""
        for name, text in files.items():
            self.write(f"sys/fs/cgroup/{path}/{name.replace('_', '.', 1)}", text)

    def limits(self) -> tuple[int | None, float | None]:
        return memory_limit(self.root), cpu_quota(self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_nothing_is_limited_without_control_groups(tree: Tree) -> None:
    assert tree.limits() == (None, None)
    tree.process("", "nonsense", "1 2 - cgroup2")
    assert tree.limits() == (None, None)


def test_version_2_in_a_container_with_a_namespace_of_its_own(tree: Tree) -> None:
    tree.process("0::/", V2_MOUNT.format(root="/"))
    tree.group("", memory_max=str(GIB), cpu_max="150000 100000")
    assert tree.limits() == (GIB, 1.5)


def test_version_2_says_max_where_nothing_is_limited(tree: Tree) -> None:
    tree.process("0::/", V2_MOUNT.format(root="/"))
    tree.group("", memory_max="max", cpu_max="max 100000")
    assert tree.limits() == (None, None)


def test_the_limits_of_all_groups_above_count(tree: Tree) -> None:
    tree.process("0::/system.slice/quire.service/worker", V2_MOUNT.format(root="/"))
    tree.group("system.slice", memory_max=str(3 * GIB), cpu_max="50000 100000")
    tree.group("system.slice/quire.service", memory_max=str(2 * GIB), cpu_max="max 100000")
    tree.group("system.slice/quire.service/worker", memory_max="max", cpu_max="400000 100000")
    assert tree.limits() == (2 * GIB, 0.5)


@pytest.mark.parametrize(
    ("group", "mounted"),
    [
        # The host's path shows, and the container's group alone is mounted.
        ("/docker/0123abcd", "/docker/0123abcd"),
        ("/docker/0123abcd", "/kubepods/other"),
        # The group lies outside of the namespace.
        ("/../../elsewhere", "/"),
        ("/gone", "/"),
    ],
)
def test_the_root_of_the_mount_is_the_containers_group(
    tree: Tree, group: str, mounted: str
) -> None:
    tree.process(f"0::{group}", V2_MOUNT.format(root=mounted))
    tree.group("", memory_max=str(GIB), cpu_max="100000 100000")
    assert tree.limits() == (GIB, 1.0)


@pytest.mark.parametrize("mounted", ["/", "/docker/0123abcd"])
def test_version_1(tree: Tree, mounted: str) -> None:
    inside = "" if mounted != "/" else "docker/0123abcd"
    tree.process(
        "11:memory:/docker/0123abcd\n4:cpu,cpuacct:/docker/0123abcd\n1:name=systemd:/x",
        V1_MEMORY.format(root=mounted),
        V1_CPU.format(root=mounted),
    )
    tree.group(f"memory/{inside}", memory_limit_in_bytes=str(800 * 1024**2))
    tree.group(f"cpu,cpuacct/{inside}", cpu_cfs_quota_us="100000", cpu_cfs_period_us="100000")
    assert tree.limits() == (800 * 1024**2, 1.0)


def test_version_1_says_nothing_is_limited_with_a_very_large_number(tree: Tree) -> None:
    tree.process(
        "11:memory:/\n4:cpu,cpuacct:/", V1_MEMORY.format(root="/"), V1_CPU.format(root="/")
    )
    tree.group("memory", memory_limit_in_bytes=NO_LIMIT_V1)
    tree.group("cpu,cpuacct", cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    assert tree.limits() == (None, None)


def test_version_1_limits_of_groups_above_count(tree: Tree) -> None:
    tree.process("11:memory:/a/b", V1_MEMORY.format(root="/"))
    tree.group("memory/a", memory_limit_in_bytes=str(GIB))
    tree.group("memory/a/b", memory_limit_in_bytes=NO_LIMIT_V1)
    assert tree.limits() == (GIB, None)


def test_hybrid_controllers_are_those_of_version_1(tree: Tree) -> None:
    tree.process("11:memory:/a\n0::/a", V1_MEMORY.format(root="/"), HYBRID)
    tree.group("memory/a", memory_limit_in_bytes=str(GIB))
    (tree.root / "sys/fs/cgroup/unified/a").mkdir(parents=True)
    assert tree.limits() == (GIB, None)


@pytest.mark.parametrize(
    ("quota", "cores"), [("20000", 1), ("100000", 1), ("100001", 2), ("max", 64), ("6400000", 64)]
)
def test_a_quota_below_one_core_leaves_one(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    tree.process("0::/", V2_MOUNT.format(root="/"))
    tree.group("", cpu_max=f"{quota} 100000")
    assert usable_cores(tree.root) == cores


def test_the_settings_keep_to_the_limits(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    tree.process("0::/", V2_MOUNT.format(root="/"))
    tree.group("", memory_max=str(800 * 1024**2), cpu_max="100000 100000")
    assert machine_limits.memory_bytes(tree.root) == 800 * 1024**2
    assert machine_limits.cores(tree.root) == 1
    monkeypatch.setattr("shared.container_limits.ROOT", tree.root)
    settings = load_settings()
    assert settings.train_memory_bytes == 600 * 1024**2
    assert (settings.train_threads, settings.generate_threads, settings.train_shards) == (1, 1, 1)


def test_the_machines_memory_is_the_most(tree: Tree) -> None:
    machine = machine_limits.memory_bytes(tree.root)
    tree.process("0::/", V2_MOUNT.format(root="/"))
    tree.group("", memory_max=str(2**50))
    assert machine_limits.memory_bytes(tree.root) == machine
