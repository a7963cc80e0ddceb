{{- /* Tells the library what this chart makes, and fails the render for what the two of them find, all at once. */ -}}
{{- define "holdfast.coordinator.contradictions" -}}
{{- $c := .Values.coordinator -}}
{{- $replicas := include "holdfast.coordinator.replicasMax" . | int -}}
{{- $_ := set .Values.holdfast "workload" (dict "kind" "Deployment" "replicas" $replicas "strategy" $c.strategy) -}}
{{- $found := list -}}
{{- if not $c.assistants.url -}}
{{- $found = append $found "coordinator.assistants.url is missing: the API that keeps threads and runs" -}}
{{- end -}}
{{- if not $c.tokenSecret.name -}}
{{- $found = append $found "coordinator.tokenSecret.name is missing: others can reach the coordinator, so it asks for a token" -}}
{{- end -}}
{{- if and (gt $replicas 1) (eq .Values.holdfast.store.kind "sqlite") -}}
{{- $found = append $found (printf "%d coordinators whose proxies share no store: they would run each other's calls again, and submit to each other's runs; use Redis, or one coordinator" $replicas) -}}
{{- end -}}
{{- with include "holdfast.contradictions.all" . -}}
{{- $found = append $found . -}}
{{- end -}}
{{- with $found -}}
{{- fail (printf "\n%s" (join "\n" .)) -}}
{{- end -}}
{{- end -}}
