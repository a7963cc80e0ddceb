{{- /* The longest that a forward may take, by the values and by each policy that can be seen here; whole seconds. */ -}}
{{- define "holdfast.longestUpstreamSeconds" -}}
{{- $longest := int .Values.holdfast.longestUpstreamSeconds -}}
{{- if not .Values.holdfast.policies.existingConfigMap -}}
{{- range $text := include "holdfast.policies.texts" . | fromJson -}}
{{- range $document := regexSplit "(?m)^---" $text -1 -}}
{{- $upstream := dig "timeouts" "upstream" "" (fromYaml $document) -}}
{{- with $upstream -}}
{{- $longest = max $longest (include "holdfast.seconds" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $longest -}}
{{- end -}}

{{- /* A policy's duration as whole seconds, rounded up. What is none is `holdfast policy check`'s business. */ -}}
{{- define "holdfast.seconds" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9]+" $text | int -}}
{{- $unit := regexFind "(ms|s|m|h|d)$" $text -}}
{{- if eq $unit "ms" -}}{{ div (add $number 999) 1000 }}
{{- else -}}{{ mul $number (get (dict "s" 1 "m" 60 "h" 3600 "d" 86400) $unit | default 0) }}
{{- end -}}
{{- end -}}

{{- /* The pod's `terminationGracePeriodSeconds`. */ -}}
{{- define "holdfast.terminationGracePeriodSeconds" -}}
{{- $v := .Values.holdfast -}}
{{- $needed := add (int $v.appDrainSeconds) (include "holdfast.longestUpstreamSeconds" . | int) 40 -}}
{{- $v.terminationGracePeriodSeconds | int | default $needed -}}
{{- end -}}
