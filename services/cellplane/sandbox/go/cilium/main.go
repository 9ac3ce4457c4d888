// One binary that is Cilium's agent and its CNI plugin, by the name that it is called under.
//
// Both are most of the same packages; one binary of them is linked in the time of one. A CNI plugin
// is found by its file's name, so a link of that name is what makes this the plugin.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/cilium/cilium/daemon/cmd"
	"github.com/cilium/cilium/pkg/hive"
	"github.com/cilium/cilium/pkg/logging"
	plugin "github.com/cilium/cilium/plugins/cilium-cni/cmd"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "cilium-agent":
		cmd.Execute(cmd.NewAgentCmd(func() *hive.Hive { return hive.New(cmd.Agent) }))
	case "cilium-cni":
		// A plugin changes the network namespace of its thread.
		runtime.LockOSThread()
		functions := plugin.NewCmd(logging.DefaultSlogLogger).CNIFuncs()
		versions := version.PluginSupports("0.3.1", "0.4.0", "1.0.0", "1.1.0")
		skel.PluginMainFuncs(functions, versions, "Cilium CNI plugin")
	default:
		fmt.Fprintf(os.Stderr, "unknown name %q: cilium-agent or cilium-cni\n", name)
		os.Exit(2)
	}
}
