"""Scripts of the tools: who wins where two say something, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evaluation.scripts import BadScript, Range
from evaluation.tools.faults import Fault
from evaluation.tools.script import BORN, HonouredKey, Script, Tool, built_in, read_script
from tests.evaluation.tools.conftest import scripted
from tests.tracked import ROOT

PAGE = (ROOT / "docs/simulators.md").read_text()


def test_tools_fields_are_merged_from_the_weakest_to_the_strongest() -> None:
    """`_default` is for all, a tool's own fields are stronger, and rates are merged one by one."""
    script = scripted("""
        tools:
          _default: {prefix: any, latency: [1, 2], rates: {slow: 0.5, throttled: 0.1}}
          create_ticket: {rates: {slow: 0}}
          launch: {effect: read}
    """)
    ticket, launch, other = (script.tool(name) for name in ("create_ticket", "launch", "other"))
    assert (ticket.prefix, ticket.lookup, ticket.latency) == ("tkt", "/tickets", Range(1, 2))
    assert ticket.rates == {Fault.SLOW: 0, Fault.THROTTLED: 0.1}
    assert (launch.effect, launch.prefix, launch.rates) == ("read", "any", other.rates)
    assert (other.effect, other.prefix) == ("write", "any")


def test_without_a_script_the_seeds_tools_write_and_read() -> None:
    """The four that write have prefixes and lookups of their own; whatever nobody knows writes."""
    script = built_in()
    assert {script.tool(name).effect for name in ("create_ticket", "send_email", "refund_payment", "update_crm")} == {
        "write"
    }
    assert {script.tool(name).effect for name in ("search_kb", "get_order")} == {"read"}
    assert script.tool("anything") == Tool()
    assert len({script.tool(name).prefix for name in BORN if script.tool(name).effect == "write"}) == 4


def test_shipped_policies_ask_where_the_tools_answer() -> None:
    """A probe of policies/*.yaml goes to the path on which the tool of that name is looked up."""
    found = {}
    for path in (ROOT / "policies").glob("*.yaml"):
        text = path.read_text()
        if probe := re.search(r"^    get: (/\S+)\?external_ref=\{operation\}$", text, re.MULTILINE):
            found[path.stem] = probe[1]
    assert found == {"create_ticket": built_in().tool("create_ticket").lookup}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tools: {create_ticket: {rates: {lost: 1}}}", "Invalid enum value 'lost'"),
        ("tools: {create_ticket: {rates: {slow: 2}}}", "the rate of slow is 2"),
        ("tools: {create_ticket: {speed: 2}}", "speed"),
        ("tools: {create_ticket: {latency: [2, 1]}}", "low to high"),
        ("tools: {create_ticket: {latency: [-1, 1]}}", "below 0"),
        ("tools: {create_ticket: {limit: 1, past: [-2, 1]}}", "below 0"),
        ("tools: {create_ticket: {status: 404}}", "an effect is answered 200"),
        ("tools: {create_ticket: {status: 204}}", "an effect is answered 200"),
        ("tools: {create_ticket: {lookup: tickets}}", "begins with /"),
        ("tools: {create_ticket: {key: {at: cookie}}}", "does not say where to look"),
        ("tools: {create_ticket: {key: {at: 'value:x'}}}", "same for every request"),
        ("tools: {create_ticket: {key: {window: 0}}}", "above 0"),
        ("tools: {create_ticket: 1}", "create_ticket are no map"),
        ("tools: [a]", "is a map"),
        ("[a]", "is a map"),
        ("tools: {a: {lookup: /x}, b: {lookup: /x}}", "looked up on the same path, /x"),
        ("subject: [weather]", "subject"),
        ("a: [", "not YAML"),
    ],
)
def test_bad_script_is_refused_by_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    """Nothing that a script says is passed over."""
    path = tmp_path / "script.yaml"
    path.write_text(text)
    with pytest.raises(BadScript, match=told) as error:
        read_script(path)
    assert str(error.value).startswith(str(path))


def test_script_on_the_page_is_one() -> None:
    """The example in docs/simulators.md can be copied as it stands."""
    (example,) = re.findall(r"```yaml\n(seed: .*?)```", PAGE, re.DOTALL)
    script = scripted(example)
    assert script.override
    assert script.tool("refund_payment").key is not None
    assert script.tool("create_ticket").lag.high > 0


def test_fields_are_documented() -> None:
    """docs/simulators.md names every field of a script, of a tool and of a key, in the table of its own."""
    told = re.findall(r"^\| `([a-zA-Z.]+)` \| (?!.*\| (?:yes|no) \|)", PAGE, re.MULTILINE)
    fields = [*Script.__struct_encode_fields__, *Tool.__struct_encode_fields__]
    keys = [f"key.{name}" for name in HonouredKey.__struct_encode_fields__]
    assert sorted(told) == sorted({*fields, *keys} - {"tools", "key"})
