package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/identity"
	ipcachetypes "github.com/cilium/cilium/pkg/ipcache/types"
	"github.com/cilium/cilium/pkg/k8s"
	ciliumv2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	slim_corev1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/core/v1"
	slim_networkingv1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/networking/v1"
	slim_metav1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/apis/meta/v1"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/labelsfilter"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/policy/api"
)

// question is one world: policies, those who might meet, and flows between them.
type question struct {
	Objects []json.RawMessage `json:"objects"`
	Places  []place           `json:"places"`
	Flows   []flow            `json:"flows"`
	// AllowLocalhost is the agent's option: "policy" (what "auto" amounts to) or "always".
	AllowLocalhost string `json:"allow_localhost"`
}

// place has exactly one of its fields set.
type place struct {
	Pod     *pod     `json:"pod"`
	Node    string   `json:"node"` // "own" or "other"
	Address *address `json:"address"`
}

type pod struct {
	Namespace       string            `json:"namespace"`
	Account         string            `json:"account"`
	Labels          map[string]string `json:"labels"`
	NamespaceLabels map[string]string `json:"namespace_labels"`
}

type address struct {
	IP string `json:"ip"`
	// Names are those that the flow's source looked up, if it may.
	Names []string `json:"names"`
}

// flow's ends are indexes of places.
type flow struct {
	From      int    `json:"from"`
	To        int    `json:"to"`
	Port      uint16 `json:"port"`
	Transport string `json:"transport"`
	Query     string `json:"query"`
}

type answer struct {
	// Refused says why, by the object's kind/namespace/name.
	Refused  map[string]string `json:"refused"`
	Verdicts []verdict         `json:"verdicts"`
}

type verdict struct {
	Egress  side `json:"egress"`
	Ingress side `json:"ingress"`
}

type side struct {
	Allowed bool     `json:"allowed"`
	Rules   []string `json:"rules"`
	Error   string   `json:"error,omitempty"`
}

// parse reads an object as the agent's watchers do, which by default select pods of any cluster. Its id tells the repository its namespace.
func parse(logger *slog.Logger, raw json.RawMessage) (ipcachetypes.ResourceID, api.Rules, error) {
	var head struct {
		Kind     string                 `json:"kind"`
		Metadata slim_metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return "", nil, err
	}
	name := ipcachetypes.NewResourceID(
		ipcachetypes.ResourceKind(head.Kind), head.Metadata.Namespace, head.Metadata.Name)
	switch head.Kind {
	case "CiliumNetworkPolicy":
		var object ciliumv2.CiliumNetworkPolicy
		if err := json.Unmarshal(raw, &object); err != nil {
			return name, nil, err
		}
		rules, err := object.Parse(logger, cmtypes.PolicyAnyCluster)
		return name, rules, err
	case "CiliumClusterwideNetworkPolicy":
		var object ciliumv2.CiliumClusterwideNetworkPolicy
		if err := json.Unmarshal(raw, &object); err != nil {
			return name, nil, err
		}
		rules, err := object.Parse(logger, cmtypes.PolicyAnyCluster)
		return name, rules, err
	case "NetworkPolicy":
		var object slim_networkingv1.NetworkPolicy
		if err := json.Unmarshal(raw, &object); err != nil {
			return name, nil, err
		}
		rules, err := k8s.ParseNetworkPolicy(logger, cmtypes.PolicyAnyCluster, &object)
		return name, rules, err
	default:
		return name, nil, nil
	}
}

// identities gives each set of labels one number, as an allocator does.
type identities struct {
	known map[string]*identity.Identity
	all   identity.IdentityMap
}

func newIdentities() *identities {
	return &identities{
		known: map[string]*identity.Identity{},
		all:   identity.ListReservedIdentities(),
	}
}

func (ids *identities) of(found labels.Labels, scope identity.NumericIdentity) *identity.Identity {
	key := string(found.SortedList())
	if _, ok := ids.known[key]; !ok {
		number := scope + identity.NumericIdentity(1000+len(ids.known))
		ids.known[key] = identity.NewIdentity(number, found)
		ids.all[number] = ids.known[key].LabelArray
	}
	return ids.known[key]
}

// ofPlace is the identity of a place; names are those by which the other side knows an address.
func (ids *identities) ofPlace(logger *slog.Logger, p place, selectors []api.FQDNSelector, names []string) (*identity.Identity, error) {
	switch {
	case p.Pod != nil:
		return ids.of(podLabels(logger, p.Pod), 0), nil
	case p.Node == "own":
		return identity.LookupReservedIdentity(identity.ReservedIdentityHost), nil
	case p.Node == "other":
		return identity.LookupReservedIdentity(identity.ReservedIdentityRemoteNode), nil
	case p.Address != nil:
		found, err := addressLabels(p.Address.IP, selectors, names)
		if err != nil {
			return nil, err
		}
		return ids.of(found, identity.IdentityScopeLocal), nil
	}
	return nil, fmt.Errorf("a place is a pod, a node or an address")
}

func podLabels(logger *slog.Logger, p *pod) labels.Labels {
	namespaceLabels := map[string]string{"kubernetes.io/metadata.name": p.Namespace}
	for key, value := range p.NamespaceLabels {
		namespaceLabels[key] = value
	}
	namespace := &slim_corev1.Namespace{
		ObjectMeta: slim_metav1.ObjectMeta{Name: p.Namespace, Labels: namespaceLabels},
	}
	_, found := k8s.GetPodMetadata(logger, namespace, &slim_corev1.Pod{
		ObjectMeta: slim_metav1.ObjectMeta{Name: "pod", Namespace: p.Namespace, Labels: p.Labels},
		Spec:       slim_corev1.PodSpec{ServiceAccountName: p.Account},
	})
	kept, _ := labelsfilter.Filter(labels.Map2Labels(found, labels.LabelSourceK8s))
	return kept
}

// addressLabels are those of the identity that the agent gives to an address which a policy names,
// or which a permitted lookup has returned.
func addressLabels(ip string, selectors []api.FQDNSelector, names []string) (labels.Labels, error) {
	parsed, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, err
	}
	found := labels.GetCIDRLabels(netip.PrefixFrom(parsed, parsed.BitLen()))
	found.AddWorldLabel(parsed)
	for _, selector := range selectors {
		matcher, err := selector.ToRegex()
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(names, func(name string) bool { return matcher.MatchString(absolute(name)) }) {
			label := selector.IdentityLabel()
			found[label.Key] = label
		}
	}
	return found, nil
}

func absolute(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, ".")) + "."
}

func namesIn(rules api.Rules) []api.FQDNSelector {
	var found []api.FQDNSelector
	for _, rule := range rules {
		for _, egress := range rule.Egress {
			found = append(found, egress.ToFQDNs...)
		}
	}
	return found
}

func setLocalhost(asked string) {
	option.Config.AllowLocalhost = option.AllowLocalhostPolicy
	if asked == option.AllowLocalhostAlways {
		option.Config.AllowLocalhost = option.AllowLocalhostAlways
	}
}
