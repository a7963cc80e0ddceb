#!/usr/bin/env bash
# The image does its work where it may write nothing: as its own user, without capabilities, on a root that is mounted
# read-only, with the three mounts that the charts give it (policies, the store's files, and nothing else).
#
#   tests/helm/read_only_root.sh localhost/holdfast
#
# Needs root, buildah, unshare and curl. What is asked twice must be done once, by the tool's own audit.
set -euo pipefail

image=$1
here=$(cd "$(dirname "$0")/../.." && pwd)
tool=127.0.0.1:${TOOL_PORT:-19000} data=127.0.0.1:${DATA_PORT:-18100}
admin=127.0.0.1:${ADMIN_PORT:-18101} health=127.0.0.1:${HEALTH_PORT:-18102}
pids=()

# In a mount namespace of its own from here on: what is mounted below is seen by nobody else, and goes with us.
if [ -z "${HOLDFAST_ROOT:-}" ]; then
  container=$(buildah from "$image")
  trap 'buildah rm "$container" >/dev/null' EXIT
  HOLDFAST_ROOT=$(buildah mount "$container") unshare --mount "$0" "$image"
  exit
fi

root=$(mktemp -d)
clean() { for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done; wait 2>/dev/null || true; umount -R "$root"; rmdir "$root"; }
trap clean EXIT
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
up() { for _ in $(seq 600); do curl -sf -o /dev/null "$1" && return; sleep 0.1; done; fail "$1 does not answer"; }

mount --bind "$HOLDFAST_ROOT" "$root"
mount --bind /proc "$root/proc"
mount -t tmpfs -o size=64m,mode=0770,gid=65532 store "$root/srv"   # the claim with the ledger
mount --bind "$here/policies" "$root/mnt"                          # the ConfigMap
mount -o remount,bind,ro "$root/mnt"
mount -o remount,bind,ro "$root"
if touch "$root/tmp/there" 2>/dev/null; then fail "the root can be written to"; fi

as_pod() { # as the image's user, who has no capabilities and can get none
  exec chroot --userspec=65532:65532 "$root" \
    setpriv --no-new-privs env -i PATH=/usr/lib/holdfast/bin:/usr/bin:/bin holdfast "$@"
}

(as_pod simulate tools --listen "$tool" --audit /srv/audit.jsonl) &
pids+=("$!")
up "http://$tool/_tools/audit"
(as_pod proxy --policies /mnt --upstream "http://$tool" --listen "$data" --admin "$admin" --health "$health" \
  --grace 130s --store sqlite:////srv/ledger.db) &
proxy=$!
pids+=("$proxy")
up "http://$health/readyz"

for outcome in executed replayed; do
  curl -si "http://$data/tools/create_ticket" -H 'X-Run-Id: run_1' -H 'X-Tool-Call-Id: call_1' \
    -H 'Content-Type: application/json' -d '{"user_id": "u_1", "subject": "printer on fire"}' |
    grep -i "^holdfast-outcome: $outcome" || fail "the call was not $outcome"
done
done_by_tool=$(curl -s "http://$tool/_tools/audit?settled=true" | grep -o '"audit_id"' | wc -l)
[ "$done_by_tool" -eq 1 ] || fail "the tool's audit has $done_by_tool tickets"
kill -TERM "$proxy"
wait "$proxy" || fail "the proxy did not end well: $?"
echo "a read-only root, user 65532: one ticket, a replay, and an orderly end"
