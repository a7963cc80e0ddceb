{{- define "agent.pod" -}}
metadata:
  labels: {app: agent}
  annotations:
    {{- include "holdfast.annotations" . | nindent 4 }}
spec:
  terminationGracePeriodSeconds: {{ include "holdfast.terminationGracePeriodSeconds" . }}
  {{- if has .Values.holdfast.workload.kind (list "Job" "CronJob" "Pod") }}
  restartPolicy: Never
  {{- end }}
  initContainers:
    {{- include "holdfast.sidecar.init" . | nindent 4 }}
  containers:
    - name: agent
      image: agent:1
    {{- include "holdfast.sidecar.plain" . | nindent 4 }}
  volumes:
    {{- include "holdfast.volumes" . | nindent 4 }}
{{- end -}}
