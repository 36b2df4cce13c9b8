package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/rest"
)

// logs prints what the kubelet reads out of a container's log.
func logs(ctx context.Context, a asked) error {
	client, err := rest.HTTPClientFor(a.config())
	if err != nil {
		return err
	}
	at := fmt.Sprintf("%s/containerLogs/%s/%s?%s", a.server, a.pod, a.container, a.query)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		return fmt.Errorf("%s: %s", answer.Status, said)
	}
	_, err = io.Copy(heard{stream: "log"}, answer.Body)
	return err
}
