{{- /* The policies' texts by file name, as JSON: those of the values; without any, `policies/*.yaml` of the including chart. */ -}}
{{- define "holdfast.policies.texts" -}}
{{- $texts := .Values.holdfast.policies.files | default dict -}}
{{- if not $texts -}}
{{- range $path, $text := .Files.Glob "policies/*.yaml" -}}
{{- $_ := set $texts (base $path) ($text | toString) -}}
{{- end -}}
{{- end -}}
{{- toJson $texts -}}
{{- end -}}

{{- define "holdfast.policies.name" -}}
{{- .Values.holdfast.policies.existingConfigMap | default (printf "%s-holdfast-policies" (.Release.Name | trunc 45 | trimSuffix "-")) -}}
{{- end -}}

{{- /* The ConfigMap of the policies, unless one exists already. */ -}}
{{- define "holdfast.policies" -}}
{{- if not .Values.holdfast.policies.existingConfigMap -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "holdfast.policies.name" . }}
  labels:
    app.kubernetes.io/part-of: holdfast
    app.kubernetes.io/instance: {{ .Release.Name }}
    app.kubernetes.io/managed-by: {{ .Release.Service }}
data:
  {{- range $name, $text := include "holdfast.policies.texts" . | fromJson }}
  {{ $name | quote }}: |
    {{- $text | trim | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- /* The pod's annotations: which policies it was rolled out with. Nothing where they are picked up live. */ -}}
{{- define "holdfast.annotations" -}}
{{- $policies := .Values.holdfast.policies -}}
{{- if and $policies.rollout (not $policies.existingConfigMap) -}}
holdfast.dev/policies-checksum: {{ include "holdfast.policies.texts" . | sha256sum }}
{{- end -}}
{{- end -}}
