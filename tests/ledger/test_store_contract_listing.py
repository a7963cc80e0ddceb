"""What every store must do when its places are listed."""

from __future__ import annotations

import pytest

from ledger.key import Ref
from ledger.store import Listed, Phase
from tests.ledger.store_bench import StoreBench, a_ref, a_write, put

PHASES: tuple[Phase, ...] = ("in_flight", "unknown", "completed", "free", "alias")


async def listing(bench: StoreBench, phase: Phase | None, limit: int = 3) -> list[Listed]:
    """Return all places in `phase`, page by page."""
    places: list[Listed] = []
    cursor = ""
    for _ in range(200):
        page = await bench.peer.scan(phase, cursor, limit)
        places += page.places
        cursor = page.cursor
        if not cursor:
            return places
    raise AssertionError("the listing does not end")


async def test_nothing_is_listed_of_an_empty_store(bench: StoreBench) -> None:
    """No places, and no cursor to go on with."""
    for phase in (None, *PHASES):
        assert await listing(bench, phase) == []


async def test_each_place_is_listed_once_in_its_phase_and_among_all(bench: StoreBench) -> None:
    """Pages cover every scope, whatever the limit; while nothing changes, no place is missed or comes twice."""
    refs = {phase: {Ref(f"acme/tool{i % 3}", f"op_{phase}_{i}") for i in range(7)} for phase in PHASES}
    for phase, some in refs.items():
        for ref in some:
            await put(bench.store, ref, a_write(phase))
    for phase in PHASES:
        for limit in (1, 3, 100):
            found = [place.ref for place in await listing(bench, phase, limit)]
            assert len(found) == 7
            assert set(found) == refs[phase]
    everything = [place.ref for place in await listing(bench, None)]
    assert len(everything) == 35
    assert set(everything) == set().union(*refs.values())


async def test_listed_place_says_what_stands_there(bench: StoreBench) -> None:
    """Version, record, whether a result is kept (now), and the lease that is left."""
    done = a_write("completed", record=b"done", result=b"201", result_ms=300)
    tombstone = a_write("completed", record=b"tombstone")
    begun = a_write(record=b"begun", lease_ms=60_000)
    for operation, write in (("op_1", done), ("op_2", tombstone), ("op_3", begun)):
        await put(bench.store, a_ref(operation), write)
    places = {place.ref.operation: place for place in await listing(bench, None)}
    assert places["op_1"] == Listed(a_ref("op_1"), done.version, b"done", True, None)
    assert places["op_2"] == Listed(a_ref("op_2"), tombstone.version, b"tombstone", False, None)
    flying = places["op_3"]
    assert (flying.version, flying.record, flying.has_result) == (begun.version, b"begun", False)
    assert flying.lease_left_ms is not None
    assert 0 < flying.lease_left_ms <= 60_000
    await bench.pass_ms(310)
    places = {place.ref.operation: place for place in await listing(bench, "completed")}
    assert [places[operation].has_result for operation in ("op_1", "op_2")] == [False, False]


async def test_unknown_places_are_listed_oldest_first_across_scopes(bench: StoreBench) -> None:
    """Whoever has waited longest for the truth comes first, also after what is unknown was rewritten."""
    refs = [Ref(scope, f"op_{i}") for i, scope in enumerate(("zeta/c", "acme/a", "acme/b", "acme/a", "zeta/c"))]
    for ref in refs:
        await put(bench.store, ref, a_write("unknown"))
        await bench.pass_ms(3)
    await put(bench.store, refs[2], a_write("unknown", lease_ms=60_000))
    for limit in (1, 2, 10):
        assert [place.ref for place in await listing(bench, "unknown", limit)] == refs


async def test_places_in_flight_are_listed_by_when_their_lease_ends(bench: StoreBench) -> None:
    """What has lapsed, or will next, comes first; an unknown place with a lease is none of them."""
    leases = {"op_1": 50_000, "op_2": 20_000, "op_3": 40_000, "op_4": 30_000}
    for operation, lease_ms in leases.items():
        await put(bench.store, a_ref(operation), a_write(lease_ms=lease_ms))
    await put(bench.store, a_ref("op_5"), a_write("unknown", lease_ms=10_000))
    found = [place.ref.operation for place in await listing(bench, "in_flight", 2)]
    assert found == ["op_2", "op_4", "op_3", "op_1"]


async def test_forgotten_place_is_not_listed(bench: StoreBench) -> None:
    """Nothing stands there any more, swept or not."""
    for phase in ("completed", "free"):
        await put(bench.store, a_ref(f"op_{phase}"), a_write(phase, forget_ms=5))
    await put(bench.store, a_ref("op_kept"), a_write("completed"))
    await bench.pass_ms(10)
    assert [place.ref.operation for place in await listing(bench, None)] == ["op_kept"]
    assert await listing(bench, "free") == []


async def test_places_settled_between_two_pages_take_no_other_with_them(bench: StoreBench) -> None:
    """A listing goes on behind its last place, whatever has become of that."""
    for index in range(6):
        await put(bench.store, a_ref(f"op_{index}"), a_write("unknown"))
        await bench.pass_ms(2)
    page = await bench.store.scan("unknown", "", 2)
    for place in page.places:
        await put(bench.store, place.ref, a_write("completed"))
    rest = await bench.store.scan("unknown", page.cursor, 10)
    assert [place.ref.operation for place in page.places + rest.places] == [f"op_{i}" for i in range(6)]


@pytest.mark.parametrize("cursor", ["x", "unknown", "unknown.1", "unknown.-1.2", "0", "é", "all.1.2.3", "e30="])
async def test_cursor_from_elsewhere_is_a_value_error(bench: StoreBench, cursor: str) -> None:
    """What this store did not give out is told as such, never guessed at."""
    for index in range(3):
        await put(bench.store, a_ref(f"op_{index}"), a_write("unknown"))
    with pytest.raises(ValueError, match="cursor"):
        await bench.store.scan("unknown", cursor, 1)


async def test_cursor_of_another_listing_is_a_value_error(bench: StoreBench) -> None:
    """A listing of one phase does not go on as one of another."""
    for index in range(3):
        await put(bench.store, a_ref(f"op_{index}"), a_write("unknown"))
    cursor = (await bench.store.scan("unknown", "", 1)).cursor
    assert cursor
    for phase in (None, "in_flight", "completed"):
        with pytest.raises(ValueError, match="cursor"):
            await bench.store.scan(phase, cursor, 1)
