// Cilium's own policy engine, asked about flows.
//
// Each line of standard input is a question in JSON (see question in world.go); each line of standard
// output its answer. Policies are parsed and sanitized as the agent does it, identities are made of
// pods as the agent makes them, and a verdict is what the datapath looks up. Names are judged by the
// agent's own DNS proxy.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/cilium/cilium/pkg/defaults"
	"github.com/cilium/cilium/pkg/fqdn/re"
	"github.com/cilium/cilium/pkg/labelsfilter"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
)

const clusterName = "default"

func main() {
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	if err := configure(logger); err != nil {
		fail(err)
	}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), bufio.NewWriter(os.Stdout)
	answers := json.NewEncoder(out)
	for {
		var asked question
		if err := in.Decode(&asked); err == io.EOF {
			return
		} else if err != nil {
			fail(err)
		}
		answered, err := answerTo(logger, asked)
		if err != nil {
			fail(err)
		}
		if err := answers.Encode(answered); err != nil {
			fail(err)
		}
		if err := out.Flush(); err != nil {
			fail(err)
		}
	}
}

// configure sets what the agent's own flags set by default, with both address families on.
func configure(logger *slog.Logger) error {
	option.Config.ClusterName = clusterName
	option.Config.EnableIPv4 = true
	option.Config.EnableIPv6 = true
	option.Config.EnableL7Proxy = true
	option.Config.EnableICMPRules = true
	option.Config.EnableNonDefaultDenyPolicies = true
	policy.SetPolicyEnabled(option.DefaultEnforcement)
	api.InitEntities(clusterName)
	if err := re.InitRegexCompileLRU(logger, defaults.FQDNRegexCompileLRUSize); err != nil {
		return err
	}
	return labelsfilter.ParseLabelPrefixCfg(logger, nil, nil, "")
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}
