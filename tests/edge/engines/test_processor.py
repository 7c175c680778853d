"""What is told of the processor decides precision and threads: it has to be read rightly, on any machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.engines import processor

ZEN_3 = "processor\t: 0\nmodel name\t: AMD Ryzen 5 5600\nflags\t\t: fpu sse2 avx2 fma\n\nprocessor\t: 1\n"
ORIN = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\nCPU part\t: 0xd42\n"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What was read of another file is forgotten before and after."""

    def forget() -> None:
        processor.name.cache_clear()
        processor.instructions.cache_clear()

    forget()
    yield
    forget()


@pytest.mark.parametrize(
    ("text", "listed", "bfloat16"),
    [
        (ZEN_3, "fpu sse2 avx2 fma", False),
        (ZEN_3.replace("avx2", "avx2 avx512_bf16"), "fpu sse2 avx2 avx512_bf16 fma", True),
        (ORIN, "fp asimd asimdhp asimddp", False),
        ("", "", False),
    ],
    ids=["Zen 3", "Zen 4", "Orin", "nothing told"],
)
def test_it_knows_what_a_processor_computes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, listed: str, bfloat16: bool
) -> None:
    """By the instructions that the kernel lists; where it lists none, none is counted on."""
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    assert (processor.instructions(), processor.computes_bfloat16()) == (set(listed.split()), bfloat16)
    assert processor.name() == ("AMD Ryzen 5 5600" if text.startswith(ZEN_3[:30]) else os.uname().machine)


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/box", {"box/cpu.max": "150000 100000"}, 2),
        ("0::/box/line", {"box/cpu.max": "100000 100000", "box/line/cpu.max": "max 100000"}, 1),
        ("0::/box", {"box/cpu.max": "max 100000"}, 8),
        (
            "4:cpu,cpuacct:/box",
            {"cpu/box/cpu.cfs_quota_us": "300000", "cpu/box/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("4:cpu,cpuacct:/box", {"cpu/box/cpu.cfs_quota_us": "-1", "cpu/box/cpu.cfs_period_us": "100000"}, 8),
        ("0::/box", {"box/cpu.max": "10000 100000"}, 1),
        ("0::/gone", {}, 8),
    ],
    ids=["v2", "outer group", "v2, no limit", "v1", "v1, no limit", "less than one", "no such group"],
)
def test_cores_are_those_that_a_container_leaves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str, files: dict[str, str], cores: int
) -> None:
    """A quota of two cores on a machine of eight is two threads, not eight that take turns."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text(own + "\n")
    monkeypatch.setattr(processor, "GROUPS", tmp_path)
    monkeypatch.setattr(processor, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert processor.usable_cores() == cores
