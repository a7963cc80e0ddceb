{{- /*
The sidecar as an item of a list of containers: of `initContainers` if it is native, of `containers` if not. Charts that
leave the choice to their users place "holdfast.sidecar.init" in the one list and "holdfast.sidecar.plain" in the other.
*/ -}}
{{- define "holdfast.sidecar" -}}
{{- include "holdfast.contradictions" . -}}
{{- $v := .Values.holdfast -}}
- name: holdfast
  image: {{ include "holdfast.image" . | quote }}
  imagePullPolicy: {{ $v.image.pullPolicy }}
  {{- if $v.nativeSidecar }}
  restartPolicy: Always
  {{- end }}
  args:
    {{- include "holdfast.arguments" . | nindent 4 }}
  env:
    {{- include "holdfast.store.env" . | nindent 4 }}
    {{- with include "holdfast.tracing.env" . }}
    {{- . | nindent 4 }}
    {{- end }}
  ports:
    - {name: holdfast-health, containerPort: {{ $v.ports.health }}, protocol: TCP}
  startupProbe:
    httpGet: {path: /startupz, port: holdfast-health}
    periodSeconds: 1
    timeoutSeconds: 1
    failureThreshold: {{ $v.startSeconds }}
  livenessProbe:
    httpGet: {path: /livez, port: holdfast-health}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  readinessProbe:
    httpGet: {path: /readyz, port: holdfast-health}
    periodSeconds: 5
    timeoutSeconds: 2
    failureThreshold: 2
  {{- with $v.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "holdfast.securityContext" . | nindent 4 }}
  volumeMounts:
    - {name: holdfast-policies, mountPath: /etc/holdfast/policies, readOnly: true}
    {{- if include "holdfast.secrets" . }}
    - {name: holdfast-secrets, mountPath: /etc/holdfast/secrets, readOnly: true}
    {{- end }}
    {{- if eq $v.store.kind "sqlite" }}
    - {name: holdfast-data, mountPath: /var/lib/holdfast}
    {{- end }}
{{- end -}}

{{- define "holdfast.sidecar.init" -}}
{{- if .Values.holdfast.nativeSidecar }}{{ include "holdfast.sidecar" . }}{{ end -}}
{{- end -}}

{{- define "holdfast.sidecar.plain" -}}
{{- if not .Values.holdfast.nativeSidecar }}{{ include "holdfast.sidecar" . }}{{ end -}}
{{- end -}}

{{- define "holdfast.image" -}}
{{- $image := .Values.holdfast.image -}}
{{ $image.repository }}:{{ $image.tag }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- /* What the restricted Pod Security Standard asks of a container, and a root that nobody can write to. */ -}}
{{- define "holdfast.securityContext" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* The sidecar's command line, below the image's entry point. */ -}}
{{- define "holdfast.arguments" -}}
{{- $v := .Values.holdfast -}}
{{- $left := sub (include "holdfast.terminationGracePeriodSeconds" . | int) 20 | int -}}
- proxy
- --policies=/etc/holdfast/policies
- {{ printf "--upstream=%s" $v.upstream | quote }}
- --listen=127.0.0.1:{{ $v.ports.data }}
- --admin=127.0.0.1:{{ $v.ports.admin }}
- --health=0.0.0.0:{{ $v.ports.health }}
- --lease={{ $v.lease }}
{{- if $v.nativeSidecar }}
{{- /* It is told to stop when the other containers have gone: nobody is left to bring new calls. */}}
- --grace={{ sub $left (int $v.appDrainSeconds) }}s
- --drain-accept=0s
{{- else }}
{{- /* It is told at the same time as they are, and both times run from then. */}}
- --grace={{ $left }}s
- --drain-accept={{ $v.appDrainSeconds }}s
{{- end }}
- --log-level={{ $v.logLevel }}
{{- if $v.adminTokenSecret.name }}
- --admin-token-file=/etc/holdfast/secrets/admin-token
{{- end }}
{{- if $v.logKeySecret.name }}
- --log-key-file=/etc/holdfast/secrets/log-key
{{- end }}
{{- range $number, $_ := $v.encryptionKeySecrets }}
- --encryption-key-file=/etc/holdfast/secrets/encryption-key-{{ $number }}
{{- end }}
{{- end -}}

{{- /* Items of the pod's `volumes`. */ -}}
{{- define "holdfast.volumes" -}}
{{- $v := .Values.holdfast -}}
- name: holdfast-policies
  configMap:
    name: {{ include "holdfast.policies.name" . }}
{{- with include "holdfast.secrets" . }}
- name: holdfast-secrets
  projected:
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- if eq $v.store.kind "sqlite" }}
- name: holdfast-data
  persistentVolumeClaim:
    claimName: {{ $v.store.sqlite.existingClaim }}
{{- end }}
{{- end -}}

{{- /* Sources of a projected volume: each Secret's key under the name that the command line gives; nothing without. */ -}}
{{- define "holdfast.secrets" -}}
{{- $v := .Values.holdfast -}}
{{- $sources := list -}}
{{- range $path, $secret := dict "admin-token" $v.adminTokenSecret "log-key" $v.logKeySecret -}}
{{- if $secret.name -}}
{{- $sources = append $sources (include "holdfast.secrets.source" (dict "secret" $secret "path" $path)) -}}
{{- end -}}
{{- end -}}
{{- range $number, $secret := $v.encryptionKeySecrets -}}
{{- $path := printf "encryption-key-%d" $number -}}
{{- $sources = append $sources (include "holdfast.secrets.source" (dict "secret" $secret "path" $path)) -}}
{{- end -}}
{{- if and (eq $v.store.kind "redis") (not $v.store.redis.urlSecret.name) -}}
{{- $redis := $v.store.redis -}}
{{- range $path, $secret := dict "redis-ca" $redis.tls.caSecret "redis-password" $redis.passwordSecret "sentinel-password" $redis.sentinelPasswordSecret -}}
{{- if $secret.name -}}
{{- $sources = append $sources (include "holdfast.secrets.source" (dict "secret" $secret "path" $path)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- join "\n" $sources -}}
{{- end -}}

{{- define "holdfast.secrets.source" -}}
- secret:
    name: {{ .secret.name }}
    items: [{key: {{ .secret.key }}, path: {{ .path }}}]
{{- end -}}
