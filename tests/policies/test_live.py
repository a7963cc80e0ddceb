"""A folder that changes while calls are served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from policies import live
from policies.faults import PolicyErrors
from policies.live import LivePolicies
from policies.matcher import PolicySet
from tests.policies.conftest import matched

HEAD = "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\ntool: t\n"
PATIENCE_S = 20
"""Never waited for on purpose: a change is told within a second where nothing is wrong."""


def hold(seconds: int) -> str:
    """Return a policy that can be told from another."""
    return f"{HEAD}timeouts: {{hold: {seconds}s}}\n"


class Watched:
    """Live policies with what they told, in order."""

    def __init__(self, folder: Path, look_ms: int = 60_000) -> None:
        self.folder = folder
        self.told: asyncio.Queue[PolicySet | PolicyErrors] = asyncio.Queue()
        self.policies = LivePolicies(
            folder, on_loaded=self.told.put_nowait, on_rejected=self.told.put_nowait, look_ms=look_ms
        )

    async def next(self) -> PolicySet | PolicyErrors:
        """Return what is told next."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.told.get()

    async def begin(self, change: Callable[[], object]) -> None:
        """Start to watch and be sure of it: the first look finds `change`, and the watch stands before that is told."""
        change()
        await self.policies.start()
        await self.next()
        assert self.policies.current.generation == 2

    @property
    def hold_ms(self) -> int:
        """How long duplicates are held just now."""
        return matched(self.policies.current, "POST", "/tools/t").timeouts.hold_ms


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    """A folder with one policy, watched; looks by the clock are too rare to help."""
    (tmp_path / "t.yaml").write_text(hold(11))
    found = Watched(tmp_path)
    await found.begin(lambda: (tmp_path / "t.yaml").write_text(hold(1)))
    yield found
    await found.policies.stop()


@pytest.mark.loops("asyncio", "uvloop")
async def test_changed_file_takes_force(watched: Watched) -> None:
    """Without a restart; the generation counts it."""
    assert (watched.policies.current.generation, watched.hold_ms) == (2, 1_000)
    (watched.folder / "t.yaml").write_text(hold(2))
    loaded = await watched.next()
    assert loaded is watched.policies.current
    assert (watched.policies.current.generation, watched.hold_ms) == (3, 2_000)
    assert watched.policies.loaded.provenance("t")["timeouts.hold"].endswith("t.yaml:4")


async def test_file_that_an_editor_replaces_takes_force(watched: Watched) -> None:
    """Most editors write another file and rename it over the old one."""
    (watched.folder / ".t.yaml.swp").write_text(hold(3))
    (watched.folder / ".t.yaml.swp").rename(watched.folder / "t.yaml")
    await watched.next()
    assert watched.hold_ms == 3_000


@pytest.mark.fault(61)
async def test_bad_change_is_told_and_the_last_good_set_stays(watched: Watched) -> None:
    """Calls go on under the policies that they had; the next good change is taken."""
    before = watched.policies.current
    (watched.folder / "t.yaml").write_text(HEAD + "timeouts: {hold: 30}\n")
    errors = await watched.next()
    assert isinstance(errors, PolicyErrors)
    assert errors.faults[0].field == "timeouts.hold"
    assert watched.policies.current is before
    (watched.folder / "t.yaml").write_text(hold(4))
    await watched.next()
    assert (watched.policies.current.generation, watched.hold_ms) == (3, 4_000)


@pytest.mark.fault(61)
async def test_folder_that_is_emptied_changes_nothing(watched: Watched) -> None:
    """A mount that went away is a bad change like any other."""
    (watched.folder / "t.yaml").unlink()
    assert isinstance(await watched.next(), PolicyErrors)
    assert watched.hold_ms == 1_000


@pytest.mark.fault(61)
def test_bad_folder_at_start_is_refused(tmp_path: Path) -> None:
    """There is no last good set yet."""
    (tmp_path / "t.yaml").write_text("nonsense")
    with pytest.raises(PolicyErrors):
        LivePolicies(tmp_path)


async def test_configmap_swap_takes_force(tmp_path: Path) -> None:
    """A mounted ConfigMap changes by one rename of the `..data` link; the names in it never change."""

    def swap(version: int) -> None:
        (tmp_path / f"..2026_0{version}").mkdir()
        (tmp_path / f"..2026_0{version}" / "t.yaml").write_text(hold(version))
        (tmp_path / "..data_tmp").symlink_to(f"..2026_0{version}")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    swap(1)
    (tmp_path / "t.yaml").symlink_to("..data/t.yaml")
    found = Watched(tmp_path)
    await found.begin(lambda: swap(2))
    try:
        swap(3)
        await found.next()
        assert found.hold_ms == 3_000
    finally:
        await found.policies.stop()


async def test_change_before_the_watch_began_is_not_missed(tmp_path: Path) -> None:
    """Between the first load and the watch's first look there is no gap."""
    (tmp_path / "t.yaml").write_text(hold(1))
    found = Watched(tmp_path)
    (tmp_path / "t.yaml").write_text(hold(22))
    await found.policies.start()
    try:
        await found.next()
        assert found.hold_ms == 22_000
    finally:
        await found.policies.stop()


async def test_change_of_comments_is_no_new_generation(watched: Watched) -> None:
    """What is in force is the same; only its lines moved."""
    before = watched.policies.current
    (watched.folder / "t.yaml").write_text("# a remark\n" + hold(1))
    assert await watched.policies.reload() is before
    assert watched.policies.loaded.provenance("t")["timeouts.hold"].endswith("t.yaml:5")
    assert watched.told.empty()


async def test_reload_on_demand_tells_and_raises(watched: Watched) -> None:
    """The admin port answers with the faults; the callback is told as well."""
    (watched.folder / "t.yaml").write_text("nonsense")
    with pytest.raises(PolicyErrors):
        await watched.policies.reload()
    assert isinstance(await watched.next(), PolicyErrors)
    assert watched.hold_ms == 1_000


async def test_folder_is_looked_at_where_it_cannot_be_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No watches left on this machine: looking by the clock takes over, and says so."""

    def exhausted(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(live, "awatch", exhausted)
    (tmp_path / "t.yaml").write_text(hold(1))
    found = Watched(tmp_path, look_ms=20)
    await found.policies.start()
    try:
        (tmp_path / "t.yaml").write_text(hold(7))
        await found.next()
        assert found.hold_ms == 7_000
        assert "not watched, only looked at" in caplog.text
    finally:
        await found.policies.stop()


async def test_folder_that_was_itself_replaced_is_found_by_looking(tmp_path: Path) -> None:
    """The watch is on the old folder then; the clock finds the new one."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "t.yaml").write_text(hold(1))
    found = Watched(folder, look_ms=50)
    await found.policies.start()
    try:
        folder.rename(tmp_path / "old")
        assert isinstance(await found.next(), PolicyErrors)
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "t.yaml").write_text(hold(8))
        (tmp_path / "new").rename(folder)
        await found.next()
        assert found.hold_ms == 8_000
    finally:
        await found.policies.stop()


async def test_callback_that_fails_does_not_end_the_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in telling is logged; the next change is still seen."""
    told: asyncio.Queue[PolicySet] = asyncio.Queue()
    failed = asyncio.Event()

    def tell(policies: PolicySet) -> None:
        if policies.generation == 2:
            failed.set()
            raise RuntimeError("the metrics are broken")
        told.put_nowait(policies)

    (tmp_path / "t.yaml").write_text(hold(1))
    policies = LivePolicies(tmp_path, on_loaded=tell)
    await policies.start()
    try:
        (tmp_path / "t.yaml").write_text(hold(22))
        async with asyncio.timeout(PATIENCE_S):
            await failed.wait()
            (tmp_path / "t.yaml").write_text(hold(333))
            assert (await told.get()).generation == 3
        assert "the metrics are broken" in caplog.text
    finally:
        await policies.stop()


async def test_stopped_policies_are_not_reloaded(watched: Watched) -> None:
    """And stopping leaves no task behind."""
    await watched.policies.stop()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "policies"]
    (watched.folder / "t.yaml").write_text(hold(9))
    assert watched.hold_ms == 1_000


async def test_folder_is_rejected_until_it_holds_what_can_be_in_force(watched: Watched) -> None:
    """Also if that is what was in force all the time, of which nobody is told."""
    seen = [watched.policies.rejected]
    (watched.folder / "t.yaml").write_text("nonsense")
    with pytest.raises(PolicyErrors):
        await watched.policies.reload()
    seen.append(watched.policies.rejected)
    (watched.folder / "t.yaml").write_text(hold(1))
    await watched.policies.reload()
    assert [*seen, watched.policies.rejected] == [False, True, False]
