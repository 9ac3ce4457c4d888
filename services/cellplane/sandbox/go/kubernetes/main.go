// One binary that is every part of a control plane, by the name of its first argument.
//
// Kubernetes publishes its commands' constructors, and etcd its main function; one binary of them
// all is compiled and linked in the time of one, and its processes share their pages.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	_ "time/tzdata" // CronJobs name time zones

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	documents "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: cluster etcd|kube-apiserver|kube-controller-manager|kube-scheduler|json ...")
	}
	// Each command must read its own arguments as if it were the program.
	os.Args = os.Args[1:]
	switch os.Args[0] {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		run(controllers.NewControllerManagerCommand())
	case "kube-scheduler":
		run(scheduler.NewSchedulerCommand())
	case "json":
		if err := convert(os.Args[1:], os.Stdout); err != nil {
			fail(err.Error())
		}
	default:
		fail(fmt.Sprintf("unknown command %q", os.Args[0]))
	}
}

func run(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

// convert writes the documents of YAML files as one JSON array: megabytes of schemas take seconds
// here, and a minute in Python.
func convert(files []string, to io.Writer) error {
	objects := []json.RawMessage{}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		for reader := documents.NewYAMLReader(bufio.NewReader(file)); ; {
			document, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			object, err := yaml.YAMLToJSON(document)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if string(object) != "null" {
				objects = append(objects, object)
			}
		}
	}
	return json.NewEncoder(to).Encode(objects)
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}
