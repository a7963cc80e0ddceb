{{- /* Items of a container's `env` that turn tracing on; nothing without an endpoint. */ -}}
{{- define "holdfast.tracing.env" -}}
{{- with .Values.holdfast.tracing }}{{ if .endpoint -}}
- {name: HOLDFAST_TRACING, value: otlp}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
{{- with .env }}
{{ toYaml . }}
{{- end }}
{{- end }}{{ end -}}
{{- end -}}
