// Cyclonus' matcher: an evaluation of NetworkPolicy that knows nothing of ours.
//
// Each line of standard input is a question in JSON, each line of standard output its answer. The
// matcher knows pods and addresses; nodes have none here, so flows with them are not asked.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

type question struct {
	Objects []*networkingv1.NetworkPolicy `json:"objects"`
	Places  []place                       `json:"places"`
	Flows   []flow                        `json:"flows"`
}

// place has exactly one of its fields set.
type place struct {
	Pod *struct {
		Namespace       string            `json:"namespace"`
		Labels          map[string]string `json:"labels"`
		NamespaceLabels map[string]string `json:"namespace_labels"`
		// IP is its address: some engines hold it against blocks of addresses.
		IP string `json:"ip"`
	} `json:"pod"`
	Address *struct {
		IP string `json:"ip"`
	} `json:"address"`
}

// flow's ends are indexes of places.
type flow struct {
	From      int    `json:"from"`
	To        int    `json:"to"`
	Port      int    `json:"port"`
	Transport string `json:"transport"`
}

type verdict struct {
	Egress  side `json:"egress"`
	Ingress side `json:"ingress"`
}

type side struct {
	Allowed bool `json:"allowed"`
}

func main() {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), bufio.NewWriter(os.Stdout)
	answers := json.NewEncoder(out)
	for {
		var asked question
		if err := in.Decode(&asked); err == io.EOF {
			return
		} else if err != nil {
			fail(err)
		}
		if err := answers.Encode(map[string]any{"verdicts": answerTo(asked)}); err != nil {
			fail(err)
		}
		if err := out.Flush(); err != nil {
			fail(err)
		}
	}
}

func answerTo(asked question) []verdict {
	policies := matcher.BuildNetworkPolicies(false, asked.Objects)
	verdicts := []verdict{}
	for _, each := range asked.Flows {
		judged := policies.IsTrafficAllowed(&matcher.Traffic{
			Source:       peer(asked.Places[each.From]),
			Destination:  peer(asked.Places[each.To]),
			ResolvedPort: each.Port,
			Protocol:     corev1.Protocol(each.Transport),
		})
		verdicts = append(verdicts, verdict{
			Egress:  side{Allowed: judged.Egress.IsAllowed()},
			Ingress: side{Allowed: judged.Ingress.IsAllowed()},
		})
	}
	return verdicts
}

func peer(p place) *matcher.TrafficPeer {
	if p.Pod == nil {
		return &matcher.TrafficPeer{IP: p.Address.IP}
	}
	namespaceLabels := map[string]string{"kubernetes.io/metadata.name": p.Pod.Namespace}
	for key, value := range p.Pod.NamespaceLabels {
		namespaceLabels[key] = value
	}
	return &matcher.TrafficPeer{
		IP: p.Pod.IP,
		Internal: &matcher.InternalPeer{
			PodLabels:       p.Pod.Labels,
			NamespaceLabels: namespaceLabels,
			Namespace:       p.Pod.Namespace,
		},
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}
