{{- /* The coordinator's container. It calls tools through the sidecar in its own pod. */ -}}
{{- define "holdfast.coordinator.container" -}}
{{- $c := .Values.coordinator -}}
- name: coordinator
  image: {{ include "holdfast.image" . | quote }}
  imagePullPolicy: {{ .Values.holdfast.image.pullPolicy }}
  args:
    {{- include "holdfast.coordinator.arguments" . | nindent 4 }}
  env:
    {{- if eq .Values.holdfast.store.kind "sqlite" }}
    - {name: HOLDFAST_STORE, value: "sqlite:///var/lib/holdfast/coordinator.db"}
    {{- else }}
    {{- include "holdfast.store.env" . | nindent 4 }}
    {{- end }}
    {{- with include "holdfast.tracing.env" . }}
    {{- . | nindent 4 }}
    {{- end }}
  ports:
    - {name: api, containerPort: {{ $c.port }}, protocol: TCP}
  startupProbe:
    httpGet: {path: /startupz, port: api}
    periodSeconds: 1
    timeoutSeconds: 1
    failureThreshold: {{ $c.startSeconds }}
  livenessProbe:
    httpGet: {path: /livez, port: api}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  readinessProbe:
    httpGet: {path: /readyz, port: api}
    periodSeconds: 5
    timeoutSeconds: 2
    failureThreshold: 2
  {{- with $c.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "holdfast.securityContext" . | nindent 4 }}
  volumeMounts:
    - {name: holdfast-policies, mountPath: /etc/holdfast/policies, readOnly: true}
    - {name: coordinator-secrets, mountPath: /etc/holdfast/coordinator, readOnly: true}
    {{- if include "holdfast.secrets" . }}
    - {name: holdfast-secrets, mountPath: /etc/holdfast/secrets, readOnly: true}
    {{- end }}
    {{- if eq .Values.holdfast.store.kind "sqlite" }}
    - {name: holdfast-data, mountPath: /var/lib/holdfast}
    {{- end }}
{{- end -}}

{{- define "holdfast.coordinator.arguments" -}}
{{- $c := .Values.coordinator -}}
- coordinator
- {{ printf "--assistants=%s" $c.assistants.url | quote }}
- --proxy=http://127.0.0.1:{{ .Values.holdfast.ports.data }}
- --policies=/etc/holdfast/policies
- --listen=0.0.0.0:{{ $c.port }}
- --token-file=/etc/holdfast/coordinator/token
{{- if $c.webhookSecret.name }}
- --webhook-secret-file=/etc/holdfast/coordinator/webhook-secrets
{{- end }}
{{- if $c.assistants.tokenSecret.name }}
- --assistants-token-file=/etc/holdfast/coordinator/assistants-token
{{- end }}
{{- range $c.assistants.query }}
- {{ printf "--assistants-query=%s" . | quote }}
{{- end }}
{{- range $c.gateway }}
- {{ printf "--gateway=%s" . | quote }}
{{- end }}
{{- if $c.completeIds }}
- --complete-ids
{{- end }}
- --visibility={{ $c.visibility }}
- --expiry-margin={{ $c.expiryMargin }}
- --log-level={{ $c.logLevel }}
{{- end -}}

{{- define "holdfast.coordinator.volume" -}}
{{- $c := .Values.coordinator -}}
- name: coordinator-secrets
  projected:
    sources:
      {{- include "holdfast.secrets.source" (dict "secret" $c.tokenSecret "path" "token") | nindent 6 }}
      {{- if $c.webhookSecret.name }}
      {{- include "holdfast.secrets.source" (dict "secret" $c.webhookSecret "path" "webhook-secrets") | nindent 6 }}
      {{- end }}
      {{- if $c.assistants.tokenSecret.name }}
      {{- include "holdfast.secrets.source" (dict "secret" $c.assistants.tokenSecret "path" "assistants-token") | nindent 6 }}
      {{- end }}
{{- end -}}
