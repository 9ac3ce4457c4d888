{{- define "agent.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Cluster-wide objects carry the namespace, so that two releases of one name never meet. */ -}}
{{- define "agent.clusterName" -}}
{{ include "agent.fullname" . }}.{{ .Release.Namespace }}
{{- end -}}

{{- define "agent.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.global.imageRegistry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "agent.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end -}}

{{- define "agent.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "agent.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: cellplane
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "agent.serviceAccount" -}}
{{ default (include "agent.fullname" .) .Values.serviceAccount.name }}
{{- end -}}

{{- define "agent.claim" -}}
{{ default (printf "%s-state" (include "agent.fullname" .)) .Values.persistence.existingClaim }}
{{- end -}}

{{- /* What the agent writes: kinds of the compilers, by API group. */ -}}
{{- define "agent.written" -}}
groups:
  - group: ""
    resources: [namespaces, serviceaccounts, services, configmaps]
  - group: apps
    resources: [deployments, statefulsets]
  - group: batch
    resources: [jobs, cronjobs]
  - group: autoscaling
    resources: [horizontalpodautoscalers]
  - group: policy
    resources: [poddisruptionbudgets]
  - group: networking.k8s.io
    resources: [networkpolicies]
  - group: cilium.io
    resources: [ciliumnetworkpolicies, ciliumclusterwidenetworkpolicies]
  - group: security.istio.io
    resources: [authorizationpolicies, peerauthentications]
  - group: gateway.networking.k8s.io
    resources: [gatewayclasses, gateways, listenersets, httproutes, grpcroutes, tlsroutes, tcproutes, backendtlspolicies]
  - group: gateway.envoyproxy.io
    resources: [envoyproxies, backends, backendtrafficpolicies, clienttrafficpolicies, securitypolicies, httproutefilters]
  - group: cert-manager.io
    resources: [certificates]
  - group: external-secrets.io
    resources: [externalsecrets]
  - group: generators.external-secrets.io
    resources: [passwords]
  - group: keda.sh
    resources: [scaledobjects]
{{- end -}}
