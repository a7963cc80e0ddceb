{{- /*
Fails the render for settings that would end in two ledgers, a pod that never ends, or calls cut off; all of them at
once. `holdfast inject` refuses the same, in the same words: cli/injection/contradictions.py.
*/ -}}
{{- define "holdfast.contradictions" -}}
{{- with include "holdfast.contradictions.all" . -}}
{{- fail (printf "\n%s" .) -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.contradictions.all" -}}
{{- if not .Values.holdfast -}}
{{- fail "holdfast-lib is to be a dependency with `alias: holdfast`: its values are below `holdfast:`" -}}
{{- end -}}
{{- $found := list -}}
{{- range list "missing" "store" "ledgers" "time" "native" -}}
{{- with include (printf "holdfast.contradictions.%s" .) $ -}}
{{- $found = append $found . -}}
{{- end -}}
{{- end -}}
{{- join "\n" $found -}}
{{- end -}}

{{- define "holdfast.contradictions.missing" -}}
{{- $v := .Values.holdfast -}}
{{- $found := list -}}
{{- if not $v.upstream -}}
{{- $found = append $found "upstream is missing: where the tools are, such as http://tools:9000" -}}
{{- end -}}
{{- if and (not $v.policies.existingConfigMap) (not (include "holdfast.policies.texts" . | fromJson)) -}}
{{- $found = append $found "policies are missing: name an existing ConfigMap, or give files" -}}
{{- end -}}
{{- join "\n" $found -}}
{{- end -}}

{{- define "holdfast.contradictions.store" -}}
{{- $store := .Values.holdfast.store -}}
{{- $redis := $store.redis -}}
{{- $found := list -}}
{{- if and (eq $store.kind "redis") (not $redis.urlSecret.name) -}}
{{- if not $redis.addresses -}}
{{- $found = append $found "the store is missing: Redis needs addresses, or a Secret with its URL" -}}
{{- else if and (eq $redis.topology "single") (gt (len $redis.addresses) 1) -}}
{{- $found = append $found "several addresses of one Redis server: topology sentinel or cluster does that" -}}
{{- end -}}
{{- if and (eq $redis.topology "sentinel") (not $redis.master) -}}
{{- $found = append $found "the name under which the Sentinels know the primary is missing" -}}
{{- end -}}
{{- if and $redis.tls.caSecret.name (not $redis.tls.enabled) -}}
{{- $found = append $found "an authority for TLS, and TLS is not enabled: the password would go in the clear" -}}
{{- end -}}
{{- end -}}
{{- if and (eq $store.kind "sqlite") (not $store.sqlite.existingClaim) -}}
{{- $found = append $found "SQLite without a PersistentVolumeClaim: an emptyDir dies with its pod, and calls that ran would run again" -}}
{{- end -}}
{{- join "\n" $found -}}
{{- end -}}

{{- define "holdfast.contradictions.ledgers" -}}
{{- $w := .Values.holdfast.workload -}}
{{- $found := list -}}
{{- if eq .Values.holdfast.store.kind "sqlite" -}}
{{- if gt (int $w.replicas) 1 -}}
{{- $found = append $found (printf "SQLite with %d replicas: each would keep a ledger of its own, and a call asked for again elsewhere would run again; use Redis" (int $w.replicas)) -}}
{{- end -}}
{{- if eq $w.kind "DaemonSet" -}}
{{- $found = append $found "SQLite in a DaemonSet: each node would keep a ledger of its own, and a call asked for again elsewhere would run again; use Redis" -}}
{{- end -}}
{{- if and (eq $w.kind "Deployment") (ne $w.strategy "Recreate") -}}
{{- $found = append $found (printf "SQLite with the strategy %s: a surge makes two ledgers; use Recreate" $w.strategy) -}}
{{- end -}}
{{- if and (eq $w.kind "CronJob") (ne $w.strategy "Forbid") -}}
{{- $found = append $found (printf "SQLite with the concurrencyPolicy %s: two Jobs at once make two ledgers; use Forbid" $w.strategy) -}}
{{- end -}}
{{- end -}}
{{- join "\n" $found -}}
{{- end -}}

{{- define "holdfast.contradictions.time" -}}
{{- $grace := include "holdfast.terminationGracePeriodSeconds" . | int -}}
{{- $drain := int .Values.holdfast.appDrainSeconds -}}
{{- $longest := include "holdfast.longestUpstreamSeconds" . | int -}}
{{- $needed := add $drain $longest 20 | int -}}
{{- if le $grace $needed -}}
{{- printf "terminationGracePeriodSeconds is %d and must be more than %d: %d s for the app to stop, %d s for the longest timeouts.upstream, 20 s to write down what is left" $grace $needed $drain $longest -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.contradictions.native" -}}
{{- $v := .Values.holdfast -}}
{{- if $v.nativeSidecar -}}
{{- if not (semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- printf "nativeSidecar needs Kubernetes 1.29 or newer, and this is %s: set nativeSidecar to false" .Capabilities.KubeVersion.Version -}}
{{- end -}}
{{- else if has $v.workload.kind (list "Job" "CronJob") -}}
{{- printf "nativeSidecar is false in a %s: the sidecar would not end, and so the %s would never be complete" $v.workload.kind $v.workload.kind -}}
{{- end -}}
{{- end -}}
