{{- /* What is fixed about each service: its key in the values, its names, ports and state. */ -}}
{{- define "cellplane.catalog" -}}
model: {name: model, module: model, port: 9601, admin: 9701, channelz: 9801, stateful: true}
placement: {name: placement, module: placement, port: 9602, admin: 9702, channelz: 9802, stateful: true}
networkPolicy: {name: network-policy, module: network_policy, port: 9603, admin: 9703, channelz: 9803, stateful: false}
gateway: {name: gateway, module: gateway, port: 9604, admin: 9704, channelz: 9804, stateful: false}
observability: {name: observability, module: observability, port: 9605, admin: 9705, channelz: 9805, stateful: true}
{{- end -}}

{{- /* The services that one calls, by their keys, as JSON; takes its key. */ -}}
{{- define "cellplane.callees" -}}
{{- $callees := dict "placement" (list "model" "networkPolicy" "gateway" "observability") "networkPolicy" (list "model" "placement") -}}
{{- get $callees . | default list | toJson -}}
{{- end -}}

{{- /* Whether several replicas of a service with state may run: those of placement, if they share all. */ -}}
{{- define "cellplane.replicated" -}}
{{- and (eq .service.name "placement") (not (empty .values.database.existingSecret)) (not (empty (dig "keySecret" "name" "" .values))) -}}
{{- end -}}

{{- define "cellplane.linkPort" -}}9606{{- end -}}
{{- define "cellplane.joinPort" -}}9607{{- end -}}

{{- define "cellplane.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "cellplane.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.global.imageRegistry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* Labels of the release; takes the root. */ -}}
{{- define "cellplane.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: cellplane
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* Selects the pods of the release; takes the root. */ -}}
{{- define "cellplane.releaseSelector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* Selects the pods of one service; takes a dict of root and service. */ -}}
{{- define "cellplane.selector" -}}
{{ include "cellplane.releaseSelector" .root }}
app.kubernetes.io/component: {{ .service.name }}
{{- end -}}

{{- define "cellplane.serviceName" -}}
{{ include "cellplane.fullname" .root }}-{{ .service.name }}
{{- end -}}

{{- define "cellplane.host" -}}
{{ include "cellplane.serviceName" . }}.{{ .root.Release.Namespace }}.svc.{{ .root.Values.clusterDomain }}
{{- end -}}

{{- define "cellplane.agentsName" -}}
{{ include "cellplane.fullname" . }}-placement-agents
{{- end -}}

{{- define "cellplane.agentsHost" -}}
{{ include "cellplane.agentsName" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{- define "cellplane.tlsSecret" -}}
{{ default (printf "%s-tls" (include "cellplane.serviceName" .)) .values.tlsSecretName }}
{{- end -}}

{{- define "cellplane.serviceAccount" -}}
{{ default (include "cellplane.serviceName" .) .values.serviceAccount.name }}
{{- end -}}

{{- define "cellplane.claim" -}}
{{ default (printf "%s-state" (include "cellplane.serviceName" .)) .values.persistence.existingClaim }}
{{- end -}}

{{- /* Refuses what cannot work, with the way out. */ -}}
{{- define "cellplane.check" -}}
{{- $path := printf "services.%s" .key -}}
{{- if and .service.stateful (gt (int .values.replicas) 1) (ne (include "cellplane.replicated" .) "true") -}}
{{- if eq .service.name "placement" -}}
{{- fail (printf "%s.replicas is %d: replicas share a database and a key: set database.existingSecret and keySecret.name, or set it to 1" $path (int .values.replicas)) -}}
{{- else if not .values.database.existingSecret -}}
{{- fail (printf "%s.replicas is %d: SQLite serves one process: set it to 1" $path (int .values.replicas)) -}}
{{- else -}}
{{- fail (printf "%s.replicas is %d: a change wakes the watchers of its own process alone, with PostgreSQL too: set it to 1" $path (int .values.replicas)) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .service.name "placement") (not .values.persistence.enabled) (ne (include "cellplane.replicated" .) "true") -}}
{{- fail (printf "%s.persistence.enabled is false: the agents' authority would be lost with the pod, and every data plane with it: set it to true" $path) -}}
{{- end -}}
{{- if and (eq .root.Values.tls.mode "certManager") (not .root.Values.tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef.name is empty: name the issuer, or set tls.mode to existingSecrets" -}}
{{- end -}}
{{- end -}}
