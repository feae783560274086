{{/* The pod of a process: root, process, fixed (files/processes.yaml), own (values). */}}
{{- define "nouba.pod" -}}
metadata:
  labels:
    {{- include "nouba.labels" . | nindent 4 }}
  annotations:
    checksum/settings: {{ include "nouba.settings" .root | sha256sum }}
    {{- with .own.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ .root.Release.Name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add .fixed.graceSeconds (ternary 5 0 (gt (int .fixed.port) 0)) }}
  securityContext:
    {{- include "nouba.podSecurity" .fixed.user | nindent 4 }}
  {{- include "nouba.pullSecrets" .root | nindent 2 }}
  {{- with .own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .root.Values.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: {{ $.root.Values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "nouba.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .process }}
      image: {{ include "nouba.image" (dict "root" .root "image" .fixed.image "tag" .own.tag) }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: {{ toJson .fixed.args }}
      securityContext:
        {{- include "nouba.containerSecurity" . | nindent 8 }}
      envFrom:
        - configMapRef: {name: {{ .root.Release.Name }}-settings}
      env:
        - {name: NOUBA_SETTINGS_DIR, value: /run/secrets/nouba}
        - {name: NOUBA_METRICS_PORT, value: "9100"}
        {{- range $name, $value := .fixed.environment }}
        {{- if eq $name "NOUBA_GATEWAY_SPOOL_DIR" }}
        # the volume itself is root's, and the gateway wants a folder of its own
        - {name: {{ $name }}, value: "{{ $value }}/events"}
        {{- else }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
        {{- end }}
        {{- if and .fixed.s3 (eq .root.Values.s3.credentials "secret") }}
        - {name: AWS_SHARED_CREDENTIALS_FILE, value: /run/secrets/nouba/aws_credentials}
        {{- end }}
      ports:
        {{- with .fixed.port }}
        - {name: http, containerPort: {{ . }}}
        {{- end }}
        - {name: metrics, containerPort: 9100}
      {{- include "nouba.probes" . | nindent 6 }}
      {{- if .fixed.port }}
      # until no Service leads here any more
      lifecycle: {preStop: {exec: {command: [sleep, "5"]}}}
      {{- end }}
      resources:
        {{- $resources := deepCopy (.own.resources | default dict) }}
        {{- $limits := merge (get $resources "limits" | default dict) (dict "memory" .fixed.memory) }}
        {{- toYaml (set $resources "limits" $limits) | nindent 8 }}
      volumeMounts:
        - {name: secrets, mountPath: /run/secrets/nouba, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- with .fixed.volume }}
        - {name: {{ . }}, mountPath: /{{ . }}}
        {{- end }}
  volumes:
    - name: secrets
      secret:
        secretName: {{ index .root.Values.secrets .fixed.secret }}
        defaultMode: 0440
    - name: tmp
      emptyDir: {medium: Memory, sizeLimit: 64Mi}
    {{- if eq .fixed.volume "scratch" }}
    - name: scratch
      ephemeral:
        volumeClaimTemplate:
          {{- include "nouba.claim" .own.scratch | nindent 10 }}
    {{- end }}
{{- end }}

{{- define "nouba.claim" -}}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ .size }}}}
{{- end }}

{{/* Readiness of a worker is compose's health check: whether work flows. A web process is ready while it answers: a
gateway keeps webhooks also where nothing else flows, and no probe may keep them from all its pods. Liveness is only
whether a process answers. */}}
{{- define "nouba.probes" -}}
{{- $port := ternary "http" "metrics" (gt (int .fixed.port) 0) -}}
startupProbe:
  httpGet: {path: {{ ternary "/healthz" "/metrics" (gt (int .fixed.port) 0) }}, port: {{ $port }}}
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  {{- if not .fixed.port }}
  exec:
    command:
      - healthcheck
      - {{ first .fixed.health }}
      {{- range rest .fixed.health }}
      {{- $pair := splitList ":" . }}
      {{- $server := ternary $.root.Values.postgresql.port $.root.Values.rabbitmq.port (eq (first $pair) "5432") }}
      - {{ printf "%d:%s" (int $server) (last $pair) | quote }}
      {{- end }}
  {{- else }}
  httpGet: {path: /healthz, port: {{ $port }}}
  {{- end }}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 3
livenessProbe:
  httpGet: {path: {{ ternary "/healthz" "/metrics" (gt (int .fixed.port) 0) }}, port: {{ $port }}}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}
