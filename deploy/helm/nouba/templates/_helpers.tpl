{{- define "nouba.labels" -}}
app.kubernetes.io/name: nouba
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .process }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "nouba.selector" -}}
app.kubernetes.io/name: nouba
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .process }}
{{- end }}

{{- define "nouba.name" -}}
{{ printf "%s-%s" .root.Release.Name .process | trunc 58 | trimSuffix "-" }}
{{- end }}

{{- define "nouba.image" -}}
{{- $registry := .root.Values.image.registry -}}
{{ if $registry }}{{ $registry }}/{{ end }}nouba-{{ .image }}:{{ .tag | default .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* The processes that are switched on, a dictionary of what is fixed (files/processes.yaml). */}}
{{- define "nouba.processes" -}}
{{- $found := dict -}}
{{- range $name, $fixed := .Files.Get "files/processes.yaml" | fromYaml -}}
{{- $own := index $.Values.processes $name | default dict -}}
{{- if ne (toString (get $own "enabled")) "false" -}}
{{- $_ := set $found $name $fixed -}}
{{- end -}}
{{- end -}}
{{ $found | toYaml }}
{{- end }}

{{/* Nothing but what an ordinary user may do: as strict as docker-compose.yml. */}}
{{- define "nouba.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end }}

{{- define "nouba.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "nouba.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What the ConfigMap holds; a pod is replaced where any of it changes. */}}
{{- define "nouba.settings" -}}
NOUBA_S3_BUCKET: {{ .Values.s3.bucket | quote }}
{{- with .Values.s3.endpointUrl }}
NOUBA_S3_ENDPOINT_URL: {{ . | quote }}
{{- end }}
{{- with .Values.rabbitmq.managementUrl }}
NOUBA_RABBITMQ_MANAGEMENT_URL: {{ . | quote }}
{{- end }}
{{- range $name, $value := .Values.settings }}
{{- if kindIs "float64" $value }}
{{ $name }}: {{ printf "%.0f" $value | quote }}
{{- else }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}
