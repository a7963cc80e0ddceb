{{- define "holdfast.coordinator.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}-coordinator
{{- end -}}

{{- define "holdfast.coordinator.selector" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/component: coordinator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "holdfast.coordinator.labels" -}}
{{ include "holdfast.coordinator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "holdfast.coordinator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "holdfast.coordinator.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- /* The most coordinators that there can be. */ -}}
{{- define "holdfast.coordinator.replicasMax" -}}
{{- ternary .Values.autoscaling.maxReplicas .Values.coordinator.replicas .Values.autoscaling.enabled | int -}}
{{- end -}}
