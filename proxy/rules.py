"""A policy set made ready for the data port: whatever can be computed once per policy is."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from ledger.records import Call
from policies.matcher import ByTenant, PolicySet
from policies.model import Retry, ToolPolicy, UnknownRules
from proxy.fields import ALWAYS_CONTROL, Incoming, Sorter
from proxy.forward import Headers, Origin
from proxy.identity import Finder, Identity, control_names
from proxy.origins import authority_of, parse_origin
from proxy.planning import Planner
from proxy.problems import Kind, Refused


class Ruled:
    """One policy with its upstream and its way of finding identities. `authority` is the upstream's Host; `observed` is
    what the shadow of a call goes by in observe mode, where nothing is ever sent but what the caller sends."""

    __slots__ = ("authority", "identity", "observed", "origin", "planner", "policy")

    def __init__(self, policy: ToolPolicy, default: Origin) -> None:
        self.policy = policy
        self.origin = default if policy.upstream.url is None else parse_origin(policy.upstream.url)
        self.authority = authority_of(self.origin)
        self.identity = Identity(policy)
        self.observed: Ruled | None = None
        if policy.mode == "observe":
            shadow = replace(policy, mode="enforce", retry=Retry(attempts=1), unknown=UnknownRules())
            self.observed = Ruled(shadow, default)
        self.planner = None if policy.unknown.probe is None else Planner(policy.unknown.probe)

    def headers(self, incoming: Incoming) -> Headers:
        """Return the fields that go to the tool, but for Holdfast's own. Over https Host is the upstream's, because the
        certificate that was checked is (RFC 9110, 7.4); over http it passes as it came."""
        return incoming.for_tool(self.authority, replace=self.origin.scheme == "https")


class Rules:
    """The policies in force. `fields` sorts requests' header fields by what any of the policies looks at;
    `name` is what logs call the set."""

    def __init__(self, policies: PolicySet, default: Origin) -> None:
        everything = (*policies.policies, policies.unmatched_write, policies.unmatched_read)
        self.policies = policies
        self.name = policies.digest[:12]
        self.fields = Sorter(ALWAYS_CONTROL | control_names(everything))
        self._ruled = {id(policy): Ruled(policy, default) for policy in everything}

    def writes(self) -> Iterator[Ruled]:
        """Yield what applies to writes, those for named tenants first."""
        found = [one for one in self._ruled.values() if one.policy.effect == "write"]
        yield from sorted(found, key=lambda one: not one.policy.match.tenants)

    def of_call(self, call: Call) -> tuple[ToolPolicy, Origin] | None:
        """Return what applies to a call that was made some time ago, by its tool and tenant."""
        named = [policy for policy in self.policies.policies if policy.tool == call.tool]
        for policy in sorted(named, key=lambda one: not one.match.tenants):  # those for some tenants come first
            if not policy.match.tenants or call.tenant in policy.match.tenants:
                return policy, self._ruled[id(policy)].origin
        return None

    def of(self, method: str, path: str, incoming: Incoming) -> Ruled:
        """Return what applies to a request. Raises `Refused` if that depends on a tenant that it does not name."""
        found = self.policies.match(method, path)
        if type(found) is ByTenant:
            tenant = Finder(found.selector).find(incoming, b"")
            if not tenant:
                raise Refused(Kind.KEY_MISSING, f"the request names no tenant: send {found.selector}")
            found = found.of(tenant)
        return self._ruled[id(found)]
