package main

import (
	"io"
	"net/http"
	"net/url"
	"os"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// forward opens local ports, each led to one of the pod (":80"), until standard input ends.
func forward(a asked) error {
	at, err := url.Parse(a.server)
	if err != nil {
		return err
	}
	at.Path = "/portForward/" + a.pod
	transport, upgrader, err := spdy.RoundTripperFor(a.config())
	if err != nil {
		return err
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", at)
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.New(dialer, a.rest, stop, ready, io.Discard, heard{stream: "stderr"})
	if err != nil {
		return err
	}
	go func() {
		<-ready
		ports, err := forwarder.GetPorts()
		if err != nil {
			say(event{Error: err.Error()})
		}
		for _, port := range ports {
			say(event{Listening: port.Local})
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	return forwarder.ForwardPorts()
}
