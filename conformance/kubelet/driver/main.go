// Command driver asks a kubelet's server for what kubectl asks it through an API server: exec, attach, port-forward and
// logs, with client-go. It prints one JSON object a line:
//
//	{"stream":"stdout","data":"…"}  what came on a stream, as it came
//	{"listening":40123}             the local port of a port-forward
//	{"exit":3}                      the end of an exec or attach, with the program's exit code
//	{"error":"…"}                   why it could not be done
//
// Its own standard input is handed on; its end is the half close. A port-forward runs until that end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/exec"
)

// asked is what the command line says.
type asked struct {
	server    string
	pod       string // namespace/name
	container string
	stdin     bool
	tty       bool
	sizes     string // 80x24,132x50: the first at once, each further one when the program says "ready"
	query     string // of logs: follow=true&tailLines=5
	rest      []string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		say(event{Error: err.Error()})
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("usage: driver exec|attach|port-forward|logs [flags] [command or port]")
	}
	var a asked
	flags := flag.NewFlagSet(arguments[0], flag.ExitOnError)
	flags.StringVar(&a.server, "server", "https://127.0.0.1:10250", "where the kubelet serves")
	flags.StringVar(&a.pod, "pod", "", "namespace/name")
	flags.StringVar(&a.container, "container", "", "name of the container")
	flags.BoolVar(&a.stdin, "stdin", false, "hand standard input on")
	flags.BoolVar(&a.tty, "tty", false, "ask for a terminal")
	flags.StringVar(&a.sizes, "sizes", "", "sizes of the terminal, as 80x24,132x50")
	flags.StringVar(&a.query, "query", "", "what is asked of logs")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	a.rest = flags.Args()
	ctx := context.Background()
	switch arguments[0] {
	case "exec":
		return ended(stream(ctx, a, "exec"))
	case "attach":
		return ended(stream(ctx, a, "attach"))
	case "port-forward":
		return forward(a)
	case "logs":
		return logs(ctx, a)
	}
	return fmt.Errorf("nobody knows %q", arguments[0])
}

// ended tells the exit code, which client-go makes an error of.
func ended(err error) error {
	var exit exec.CodeExitError
	switch {
	case err == nil:
		code := 0
		say(event{Exit: &code})
		return nil
	case errors.As(err, &exit):
		say(event{Exit: &exit.Code})
		return nil
	}
	return err
}

// config is for a kubelet that made its certificate itself and lets everybody in.
func (a asked) config() *rest.Config {
	return &rest.Config{Host: a.server, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}
