package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"k8s.io/client-go/tools/remotecommand"
)

// stream execs in a container, or attaches to it.
func stream(ctx context.Context, a asked, verb string) error {
	at, err := a.streamURL(verb)
	if err != nil {
		return err
	}
	executor, err := remotecommand.NewSPDYExecutor(a.config(), "POST", at)
	if err != nil {
		return err
	}
	sizes, err := newSizes(a.sizes)
	if err != nil {
		return err
	}
	options := remotecommand.StreamOptions{Stdout: heard{stream: "stdout", also: sizes.look}, Tty: a.tty}
	if a.stdin {
		options.Stdin = os.Stdin
	}
	if a.tty {
		options.TerminalSizeQueue = sizes
	} else {
		options.Stderr = heard{stream: "stderr"}
	}
	return executor.StreamWithContext(ctx, options)
}

func (a asked) streamURL(verb string) (*url.URL, error) {
	at, err := url.Parse(a.server)
	if err != nil {
		return nil, err
	}
	at.Path = fmt.Sprintf("/%s/%s/%s", verb, a.pod, a.container)
	query := url.Values{"output": {"1"}}
	if verb == "exec" {
		query["command"] = a.rest
	}
	for name, wanted := range map[string]bool{"input": a.stdin, "tty": a.tty, "error": !a.tty} {
		if wanted {
			query.Set(name, "1")
		}
	}
	at.RawQuery = query.Encode()
	return at, nil
}

// sizes tells one size at once, and a further one each time the program says "ready".
type sizes struct {
	left []remotecommand.TerminalSize
	next chan remotecommand.TerminalSize
}

func newSizes(text string) (*sizes, error) {
	s := &sizes{next: make(chan remotecommand.TerminalSize, 8)}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		var size remotecommand.TerminalSize
		if _, err := fmt.Sscanf(word, "%dx%d", &size.Width, &size.Height); err != nil {
			return nil, fmt.Errorf("size %q: %w", word, err)
		}
		s.left = append(s.left, size)
	}
	s.tell()
	return s, nil
}

// Next is how client-go asks for a size.
func (s *sizes) Next() *remotecommand.TerminalSize {
	size := <-s.next
	return &size
}

func (s *sizes) look(data []byte) {
	if bytes.Contains(data, []byte("ready")) {
		s.tell()
	}
}

func (s *sizes) tell() {
	if len(s.left) > 0 {
		s.next <- s.left[0]
		s.left = s.left[1:]
	}
}
