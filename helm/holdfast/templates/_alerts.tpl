{{- /* files/alerts.yaml with what the values change of it; the render fails for an alert that they name and nobody has. */ -}}
{{- define "holdfast.alerts" -}}
{{- $v := .Values.alerts -}}
{{- $groups := list -}}
{{- $names := list -}}
{{- range $group := (.Files.Get "files/alerts.yaml" | fromYaml).groups -}}
{{- $rules := list -}}
{{- range $rule := $group.rules -}}
{{- $names = append $names $rule.alert -}}
{{- if not (has $rule.alert $v.disabled) -}}
{{- $severity := get $v.severity $rule.alert | default $rule.labels.severity -}}
{{- $_ := set $rule "labels" (merge (dict "severity" $severity) $v.alertLabels) -}}
{{- with $v.runbooks -}}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s/%s.md" (trimSuffix "/" .) $rule.alert) -}}
{{- end -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- end -}}
{{- if $rules -}}
{{- $groups = append $groups (dict "name" $group.name "rules" $rules) -}}
{{- end -}}
{{- end -}}
{{- range $name := concat $v.disabled (keys $v.severity | sortAlpha) -}}
{{- if not (has $name $names) -}}
{{- fail (printf "alerts: there is no %s; there are %s" $name (join ", " $names)) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "groups" $groups) -}}
{{- end -}}
