#!/usr/bin/env bash
# The sidecar is killed in the middle of create_ticket. What becomes of the call?
#
#   docs/walkthroughs/unknown.sh           the shipped policy: the tool is asked (a probe), and the caller gets the ticket
#   docs/walkthroughs/unknown.sh ruling    `then: hold` and no probe: a person looks, and rules
#
# Needs holdfast on the PATH (or HOLDFAST=…), curl, and five seconds of patience twice. Everything goes to a folder that
# is removed in the end. Ports can be moved (TOOL_PORT, DATA_PORT, ADMIN_PORT, HEALTH_PORT), and so can the tool's slowness
# (LATENCY, in seconds).
set -euo pipefail

how=${1:-probe}
here=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
tool=127.0.0.1:${TOOL_PORT:-9000}
data=127.0.0.1:${DATA_PORT:-8100}
health=127.0.0.1:${HEALTH_PORT:-8102}
pids=()

# Every flag can be set in the environment; `holdfast ops` reads HOLDFAST_ADMIN as well.
export HOLDFAST_POLICIES=$here/policies HOLDFAST_UPSTREAM=http://$tool HOLDFAST_STORE=sqlite://$folder/ledger.db
export HOLDFAST_LISTEN=$data HOLDFAST_ADMIN=127.0.0.1:${ADMIN_PORT:-8101} HOLDFAST_HEALTH=$health

holdfast() { "${HOLDFAST:-holdfast}" "$@"; }
say() { printf '\n# %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; tail -n 5 "$folder"/*.log >&2; exit 1; }
clean() { for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$folder"; }
trap clean EXIT

up() { for _ in $(seq 400); do curl -sf -o "$folder/up" "$1" && return; sleep 0.1; done; fail "$1 does not answer"; }
start_proxy() {
  "${HOLDFAST:-holdfast}" proxy >>"$folder/proxy.log" 2>&1 &
  proxy=$!
  pids+=("$proxy")
  up "http://$health/readyz"
}
call() {
  curl -s "$@" "http://$data/tools/create_ticket" -H 'X-Run-Id: run_83f2' -H 'X-Tool-Call-Id: call_X1' \
    -H 'Content-Type: application/json' -d '{"user_id": "u_1", "subject": "printer on fire"}'
}

if [ "$how" = ruling ]; then
  say "A policy for a tool that cannot be asked: what is unknown stays so until somebody rules"
  mkdir "$folder/policies"
  export HOLDFAST_POLICIES=$folder/policies
  tee "$HOLDFAST_POLICIES/create_ticket.yaml" <<'POLICY'
apiVersion: holdfast.dev/v1
kind: ToolPolicy
tool: create_ticket
unknown: {then: hold}
POLICY
fi

say "The tool takes ${LATENCY:=4} s for a ticket; the sidecar stands in front of it"
"${HOLDFAST:-holdfast}" simulate tools --listen "$tool" --audit "$folder/audit.jsonl" --latency "$LATENCY" \
  >"$folder/tool.log" 2>&1 &
pids+=("$!")
up "http://$tool/_tools/audit"
start_proxy

say "A caller asks for a ticket, and as soon as the tool is at work on it: kill -9"
call -o "$folder/lost" &
pids+=("$!")
curl -s -m 60 -o "$folder/begun" "http://$tool/_tools/audit?arrivals=1"
kill -9 "$proxy"
wait "$proxy" 2>/dev/null || true

say "The sidecar is started again. What does it know?"
start_proxy
say "holdfast ops list --state unknown"
holdfast ops list --state unknown | tee "$folder/unknown"
op=$(grep -o 'op_[0-9a-f]*' "$folder/unknown") || fail "nothing is unknown"

if [ "$how" = ruling ]; then
  grep -q "a ruling" "$folder/unknown" || fail "the list does not say what can end it"
  say "The caller asks again, with the same ids: nothing can end this but a person, so it is told at once"
  call -o "$folder/answer" -w '%{http_code}\n' | grep 409 || fail "the caller was not told 409"
  cat "$folder/answer"; echo
  say "That person looks at the tool's own records"
  curl -s "http://$tool/_tools/audit?settled=true" | tee "$folder/audit"; echo
  ticket=$(grep -o 'tkt_[0-9]*' "$folder/audit" | head -n 1)
  say "holdfast ops resolve $op --executed --response ticket.json --reason 'filed as $ticket'"
  printf '{"status": 201, "headers": {"Content-Type": "application/json"}, "body": {"id": "%s"}}' "$ticket" >"$folder/ticket.json"
  holdfast ops resolve "$op" --executed --response "$folder/ticket.json" --reason "filed as $ticket"
else
  grep -q "a probe" "$folder/unknown" || fail "the list does not say that a probe can end it"
fi

say "The caller asks again, with the same ids, and waits"
call -i | tee "$folder/answer"; echo
grep -q '^HTTP/1.1 201' "$folder/answer" || fail "the caller did not get the ticket"
grep -qi '^holdfast-outcome: \(replayed\|joined\)' "$folder/answer" || fail "the call was forwarded again"

say "holdfast ops show $op"
holdfast ops show "$op"

say "The tool's own audit: how many tickets?"
curl -s "http://$tool/_tools/audit?settled=true" >"$folder/audit"
count=$(grep -o '"audit_id"' "$folder/audit" | wc -l)
echo "$count"
[ "$count" -eq 1 ] || fail "there should be one ticket"
