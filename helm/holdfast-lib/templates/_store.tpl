{{- /* Items of a container's `env`: the store's URL, from a Secret or without a secret in it. */ -}}
{{- define "holdfast.store.env" -}}
{{- $store := .Values.holdfast.store -}}
- name: HOLDFAST_STORE
{{- if and (eq $store.kind "redis") $store.redis.urlSecret.name }}
  valueFrom:
    secretKeyRef: {name: {{ $store.redis.urlSecret.name }}, key: {{ $store.redis.urlSecret.key }}}
{{- else if eq $store.kind "redis" }}
  value: {{ include "holdfast.store.redisUrl" $store.redis | quote }}
{{- else }}
  value: sqlite:///var/lib/holdfast/holdfast.db
{{- end }}
{{- end -}}

{{- define "holdfast.store.redisUrl" -}}
{{- $options := list -}}
{{- if .passwordSecret.name -}}
{{- $options = append $options "password_file=/etc/holdfast/secrets/redis-password" -}}
{{- end -}}
{{- if .sentinelPasswordSecret.name -}}
{{- $options = append $options "sentinel_password_file=/etc/holdfast/secrets/sentinel-password" -}}
{{- end -}}
{{- if .tls.caSecret.name -}}
{{- $options = append $options "ssl_ca_certs=/etc/holdfast/secrets/redis-ca" -}}
{{- end -}}
{{ ternary "rediss" "redis" .tls.enabled }}{{ if ne .topology "single" }}+{{ .topology }}{{ end }}://
{{- with .username }}{{ . | urlquery }}@{{ end }}{{ join "," .addresses }}
{{- if eq .topology "sentinel" }}/{{ .master }}{{ end }}
{{- if ne .topology "cluster" }}/{{ .database }}{{ end }}
{{- with $options }}?{{ join "&" . }}{{ end }}
{{- end -}}
