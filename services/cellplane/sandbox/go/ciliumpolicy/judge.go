package main

import (
	"fmt"
	"log/slog"
	"net/netip"

	certificatemanager "github.com/cilium/cilium/pkg/crypto/certificatemanager"
	"github.com/cilium/cilium/pkg/endpoint/regeneration"
	envoypolicy "github.com/cilium/cilium/pkg/envoy/policy"
	"github.com/cilium/cilium/pkg/fqdn/dnsproxy"
	"github.com/cilium/cilium/pkg/fqdn/restore"
	"github.com/cilium/cilium/pkg/identity"
	ipcachetypes "github.com/cilium/cilium/pkg/ipcache/types"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
	"github.com/cilium/cilium/pkg/spanstat"
	testpolicy "github.com/cilium/cilium/pkg/testutils/policy"
	"github.com/cilium/cilium/pkg/u8proto"
)

// redirectPort stands for the port of the DNS proxy; which one it is has no meaning here.
const redirectPort = 10001

// judge holds one world's repository, and what was made of it for each identity.
type judge struct {
	logger    *slog.Logger
	repo      *policy.Repository
	ids       *identities
	selectors []api.FQDNSelector
	places    []place
	proxy     *dnsproxy.DNSProxy
	endpoints map[identity.NumericIdentity]*endpoint
	proxied   map[restore.PortProto]bool
}

// endpoint is a pod as the policy engine knows it.
type endpoint struct {
	id     uint64
	policy *policy.EndpointPolicy
}

func answerTo(logger *slog.Logger, asked question) (answer, error) {
	setLocalhost(asked.AllowLocalhost)
	given := answer{Refused: map[string]string{}, Verdicts: []verdict{}}
	var rules api.Rules
	byObject := map[ipcachetypes.ResourceID]api.Rules{}
	for _, raw := range asked.Objects {
		name, parsed, err := parse(logger, raw)
		if err != nil {
			given.Refused[string(name)] = err.Error()
			continue
		}
		byObject[name] = parsed
		rules = append(rules, parsed...)
	}
	j := &judge{
		logger:    logger,
		ids:       newIdentities(),
		selectors: namesIn(rules),
		places:    asked.Places,
		proxy:     dnsproxy.NewDNSProxy(dnsproxy.DNSProxyConfig{Logger: logger}, nil, nil, nil),
		endpoints: map[identity.NumericIdentity]*endpoint{},
		proxied:   map[restore.PortProto]bool{},
	}
	if err := j.introduce(); err != nil {
		return given, err
	}
	secrets := certificatemanager.NewMockSecretManagerInline()
	j.repo = policy.NewPolicyRepository(logger, j.ids.all, nil,
		envoypolicy.NewEnvoyL7RulesTranslator(logger, secrets), nil, testpolicy.NewPolicyMetricsNoop())
	j.repo.GetSelectorCache().SetLocalIdentityNotifier(names{})
	for name, parsed := range byObject {
		j.repo.ReplaceByResource(parsed, name)
	}
	for _, each := range asked.Flows {
		judged, err := j.verdict(each)
		if err != nil {
			return given, err
		}
		given.Verdicts = append(given.Verdicts, judged)
	}
	return given, nil
}

// introduce makes every identity before any policy is resolved: an address has one for each set of
// its names that a source may have learnt.
func (j *judge) introduce() error {
	for _, each := range j.places {
		var names []string
		if each.Address != nil {
			names = each.Address.Names
		}
		for subset := range 1 << len(names) {
			var learnt []string
			for bit, name := range names {
				if subset&(1<<bit) != 0 {
					learnt = append(learnt, name)
				}
			}
			if _, err := j.ids.ofPlace(j.logger, each, j.selectors, learnt); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *judge) verdict(asked flow) (verdict, error) {
	from, to := j.places[asked.From], j.places[asked.To]
	proto, err := u8proto.ParseProtocol(asked.Transport)
	if err != nil {
		return verdict{}, err
	}
	source, err := j.ids.ofPlace(j.logger, from, j.selectors, nil)
	if err != nil {
		return verdict{}, err
	}
	var learnt []string
	if to.Address != nil && from.Pod != nil {
		for _, name := range to.Address.Names {
			if j.mayAsk(source, name) {
				learnt = append(learnt, name)
			}
		}
	}
	target, err := j.ids.ofPlace(j.logger, to, j.selectors, learnt)
	if err != nil {
		return verdict{}, err
	}
	open := side{Allowed: true, Rules: []string{}}
	given := verdict{Egress: open, Ingress: open}
	if from.Pod != nil {
		key := policy.EgressKey().WithIdentity(target.ID).WithPortProto(proto, asked.Port)
		given.Egress = j.side(source, key, target, asked, proto)
	}
	if to.Pod != nil {
		key := policy.IngressKey().WithIdentity(source.ID).WithPortProto(proto, asked.Port)
		given.Ingress = j.side(target, key, source, asked, proto)
	}
	return given, nil
}

func (j *judge) side(subject *identity.Identity, key policy.Key, other *identity.Identity, asked flow, proto u8proto.U8proto) side {
	known, err := j.endpoint(subject)
	if err != nil {
		return side{Rules: []string{}, Error: err.Error()}
	}
	entry, origin, found := known.policy.Lookup(key)
	given := side{Allowed: found && !entry.IsDeny(), Rules: []string{}}
	for _, labels := range origin.LabelArray() {
		given.Rules = append(given.Rules, labels.Get("k8s.io.cilium.k8s.policy.name"))
	}
	if given.Allowed && asked.Query != "" && entry.IsRedirectEntry() {
		port := restore.MakeV2PortProto(asked.Port, proto)
		allowed, err := j.proxy.CheckAllowed(known.id, port, other.ID, netip.Addr{}, asked.Query)
		given.Allowed = allowed && err == nil
	}
	return given
}

// mayAsk tells whether a permitted lookup by anyone in the world lets the pod learn a name.
func (j *judge) mayAsk(source *identity.Identity, name string) bool {
	known, err := j.endpoint(source)
	if err != nil {
		return false
	}
	for _, each := range j.places {
		server, err := j.ids.ofPlace(j.logger, each, j.selectors, nil)
		if err != nil {
			continue
		}
		for port := range j.proxied {
			if allowed, err := j.proxy.CheckAllowed(known.id, port, server.ID, netip.Addr{}, name); err == nil && allowed {
				return true
			}
		}
	}
	return false
}

// endpoint resolves what an identity may do, as an agent does it for a pod of that identity.
func (j *judge) endpoint(subject *identity.Identity) (*endpoint, error) {
	if known, ok := j.endpoints[subject.ID]; ok {
		return known, nil
	}
	made := &endpoint{id: uint64(len(j.endpoints) + 1)}
	resolved, _, err := j.repo.GetSelectorPolicy(subject, 0, &statistics{}, made.id)
	if err != nil {
		return nil, fmt.Errorf("policies conflict: %w", err)
	}
	redirects := map[string]uint16{}
	for filter, selected := range resolved.RedirectFilters() {
		id := policy.ProxyID(uint16(made.id), filter.Ingress, string(filter.Protocol), filter.Port, selected.Policy.GetListener())
		redirects[id] = redirectPort
		if selected.Policy.L7Parser == policy.ParserTypeDNS {
			port := restore.MakeV2PortProto(filter.Port, filter.U8Proto)
			if _, err := j.proxy.UpdateAllowed(made.id, port, filter.GetPerSelectorPolicies()); err != nil {
				return nil, err
			}
			j.proxied[port] = true
		}
	}
	made.policy = resolved.DistillPolicy(j.logger, owner{id: made.id}, redirects)
	if err := made.policy.Ready(); err != nil {
		return nil, err
	}
	j.endpoints[subject.ID] = made
	return made, nil
}

// owner is the endpoint in the words of the policy engine; it has no named ports.
type owner struct{ id uint64 }

func (o owner) GetID() uint64                                     { return o.id }
func (o owner) GetNamedPort(bool, string, u8proto.U8proto) uint16 { return 0 }
func (o owner) PolicyDebug(string, ...any)                        {}
func (o owner) IsHost() bool                                      { return false }
func (o owner) MapStateSize() int                                 { return 0 }
func (o owner) RegenerateIfAlive(*regeneration.ExternalRegenerationMetadata) <-chan bool {
	done := make(chan bool)
	close(done)
	return done
}

// names hears which names policies select; addresses have theirs before any policy is resolved.
type names struct{}

func (names) RegisterFQDNSelector(api.FQDNSelector)   {}
func (names) UnregisterFQDNSelector(api.FQDNSelector) {}

// statistics that nobody reads.
type statistics struct{ waiting, calculating spanstat.SpanStat }

func (s *statistics) WaitingForPolicyRepository() *spanstat.SpanStat { return &s.waiting }
func (s *statistics) SelectorPolicyCalculation() *spanstat.SpanStat  { return &s.calculating }
