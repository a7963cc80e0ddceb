"""Calls under new ids: which are the same as before, which must not run, and what names they go by."""

from __future__ import annotations

from msgspec.structs import replace

from coordinator.backend import ToolCall
from coordinator.facts import arguments_digest
from coordinator.records import Call, Given
from coordinator.renewal import Fact, renewed, same_calls
from tests.coordinator.run_samples import PATIENCE_MS, result

WRITE, READ = "create_ticket", "read_file"


def asked(*calls: tuple[str, str], tool: str = WRITE) -> tuple[ToolCall, ...]:
    """Calls as the API asks for them: id and arguments."""
    return tuple(ToolCall(call_id, tool, arguments) for call_id, arguments in calls)


def facts(calls: tuple[ToolCall, ...]) -> dict[str, Fact]:
    """What is known of them: the digest of their canonical arguments, and whether they write."""
    return {one.tool_call_id: Fact(arguments_digest(one.arguments), one.tool != READ, PATIENCE_MS) for one in calls}


def steps(*pictures: tuple[ToolCall, ...], used: frozenset[str] = frozenset()) -> list[tuple[Call, ...]]:
    """Return the calls of one step after another, none of which was accepted."""
    made: list[tuple[Call, ...]] = []
    for number, calls in enumerate(pictures, 1):
        earlier = [call for step in made for call in step]
        made.append(renewed(earlier, calls, facts(calls), used, f"step_{number}", 1_000 * number))
    return made


def names(calls: tuple[Call, ...]) -> list[tuple[str, str, bool]]:
    """Return each call's id, the name that the proxy knows it by, and whether it is a stray."""
    return [(call.tool_call_id, call.known_as, call.stray) for call in calls]


def with_result(call: Call, given: Given) -> Call:
    """The call, once there is a result."""
    return replace(call, given=given)


def test_first_calls_go_by_their_own_ids() -> None:
    """A step like any other: nothing came before, so nothing is a stray, and each call has its time from now on."""
    (step,) = steps(asked(("a", "1"), ("b", "2")))
    assert names(step) == [("a", "a", False), ("b", "b", False)]
    assert {call.deadline_ms for call in step} == {1_000 + PATIENCE_MS}


def test_regenerated_call_is_the_earlier_one_whatever_its_id_and_order() -> None:
    """It is known by its first name through a whole chain of ids, and has fresh time."""
    first = asked(("a1", "1"), ("b1", "2"))
    *_, third = steps(first, asked(("b2", "2"), ("a2", "1")), asked(("a3", "1"), ("b3", "2")))
    assert names(third) == [("a3", "a1", False), ("b3", "b1", False)]
    assert third[0].deadline_ms == 3_000 + PATIENCE_MS


def test_identical_calls_are_paired_in_order() -> None:
    """Two equal calls stay two: each repeats one of the earlier ones."""
    *_, step = steps(asked(("a1", "1"), ("a2", "1")), asked(("b1", "1"), ("b2", "1")))
    assert names(step) == [("b1", "a1", False), ("b2", "a2", False)]


def test_one_more_of_identical_calls_is_a_stray() -> None:
    """A third equal call repeats none of two: it is not executed."""
    *_, step = steps(asked(("a1", "1"), ("a2", "1")), asked(("b1", "1"), ("b2", "1"), ("b3", "1")))
    assert [call.stray for call in step] == [False, False, True]


def test_id_that_stayed_is_the_same_call_and_leaves_the_others_to_the_rest() -> None:
    """Where only some ids are new, an equal call does not take the name of one that kept its id."""
    *_, step = steps(asked(("a1", "1"), ("a2", "1")), asked(("b", "1"), ("a1", "1")))
    assert names(step) == [("b", "a2", False), ("a1", "a1", False)]


def test_arguments_are_compared_as_json() -> None:
    """Space and the order of members make no other call."""
    *_, step = steps(asked(("a", '{"x": 1, "y": [2]}')), asked(("b", '{"y":[2],"x":1.0}')))
    assert names(step) == [("b", "a", False)]


def test_write_with_other_arguments_is_a_stray_and_stays_one() -> None:
    """It may be a variant of one that ran: however often it is asked for, under whatever id, it is not executed."""
    *_, third, fourth = steps(asked(("a", "1")), asked(("b", "9")), asked(("b", "9")), asked(("c", "9")))
    assert [call.stray for call in third + fourth] == [True, True]


def test_earlier_call_that_comes_back_after_a_stray_is_itself() -> None:
    """A stray takes nobody's place."""
    *_, step = steps(asked(("a", "1")), asked(("b", "9")), asked(("c", "1")))
    assert names(step) == [("c", "a", False)]


def test_another_tool_with_the_same_arguments_is_another_call() -> None:
    """Neither a new id nor the same one makes a call of another tool the same."""
    first = asked(("a", "1"))
    for call_id in ("a", "b"):
        *_, step = steps(first, asked((call_id, "1"), tool="send_email"))
        assert [(call.tool, call.stray) for call in step] == [("send_email", True)]


def test_reads_just_run() -> None:
    """A read that is asked for anew is neither matched nor a stray."""
    *_, step = steps(asked(("a", "1"), tool=READ), asked(("b", "1"), ("c", "2"), tool=READ))
    assert names(step) == [("b", "b", False), ("c", "c", False)]


def test_read_under_an_id_that_meant_another_has_a_name_of_its_own() -> None:
    """What is still under way for the earlier one is not taken for its result."""
    *_, second, third = steps(*(asked(("a", arguments), tool=READ) for arguments in "123"))
    assert len({"a", second[0].known_as, third[0].known_as}) == 3


def test_no_two_calls_of_a_step_share_a_name() -> None:
    """Ids that were exchanged, kept or shifted among calls of all kinds never end in one name for two calls."""
    first = asked(("a", "1"), ("b", "2")) + asked(("c", "3"), tool=READ)
    *_, second, third = steps(
        first,
        asked(("b", "1"), ("a", "9")) + asked(("d", "3"), tool=READ),
        asked(("a", "2"), ("c", "1"), ("b", "1")) + asked(("d", "4"), tool=READ),
    )
    for step in (second, third):
        assert len({call.known_as for call in step}) == len(step)
    assert names(second)[0] == ("b", "a", False)


def test_picture_that_mixes_two_ids_of_one_call_has_it_once() -> None:
    """The second id is not the same call over again, and repeats none: a stray."""
    *_, step = steps(asked(("a", "1")), asked(("b", "1")), asked(("a", "1"), ("b", "1")))
    assert names(step)[0] == ("a", "a", False)
    assert step[1].stray
    assert step[1].known_as != "a"


def test_result_is_carried_over_and_our_error_is_not() -> None:
    """What the tool or a gateway said of a call is said of it under its new id as well; an error of ours was for want
    of better, and there is time again."""
    ((first,),) = steps(asked(("a", "1")))
    later = asked(("b", "1"))
    for given, kept in (
        (result("r"), result("r")),
        (result("r", "posted"), result("r", "posted")),
        (result("r", "error"), None),
        (replace(result("r"), output=None), None),
    ):
        (call,) = renewed([with_result(first, given)], later, facts(later), frozenset(), "step_2", 0)
        assert call.given == kept


def test_call_under_its_own_id_again_has_its_newest_result() -> None:
    """A picture that goes back to a call's first id finds what came in under a later one."""
    first, second = steps(asked(("a", "1")), asked(("b", "1")))
    again = asked(("a", "1"))
    earlier = [*first, with_result(second[0], result("r"))]
    (call,) = renewed(earlier, again, facts(again), frozenset(), "step_3", 0)
    assert call.given == result("r")
    let_go = [with_result(first[0], replace(result("r"), output=None))]
    assert renewed(let_go, again, facts(again), frozenset(), "step_3", 0)[0].given is None


def test_id_that_was_accepted_for_another_call_gets_the_step_before_it() -> None:
    """A provider that numbers the calls of each step means another call each time; renewed, it keeps the name."""
    used = frozenset({"call_0"})
    first, second = steps(asked(("call_0", "1")), asked(("call_1", "1")), used=used)
    assert names(first) == [("call_0", "step_1/call_0", False)]
    assert names(second) == [("call_1", "step_1/call_0", False)]


def test_same_calls_are_those_with_the_same_ids_tools_and_arguments() -> None:
    """Their order does not matter; anything else does."""
    (step,) = steps(asked(("a", "1"), ("b", "2")))
    for other, same in (
        (asked(("b", "2"), ("a", " 1 ")), True),
        (asked(("a", "1")), False),
        (asked(("a", "1"), ("b", "3")), False),
        (asked(("a", "1"), ("c", "2")), False),
        (asked(("a", "1"), ("b", "2"), tool=READ), False),
    ):
        assert same_calls(step, other, facts(other)) is same
