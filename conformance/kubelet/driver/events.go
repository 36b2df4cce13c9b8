package main

import (
	"encoding/json"
	"os"
	"sync"
)

// event is one line of output.
type event struct {
	Stream    string `json:"stream,omitempty"`
	Data      string `json:"data,omitempty"`
	Listening uint16 `json:"listening,omitempty"`
	Exit      *int   `json:"exit,omitempty"`
	Error     string `json:"error,omitempty"`
}

var saying sync.Mutex

func say(e event) {
	saying.Lock()
	defer saying.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(e)
}

// heard makes an event of everything that is written to it.
type heard struct {
	stream string
	also   func([]byte)
}

func (h heard) Write(data []byte) (int, error) {
	say(event{Stream: h.stream, Data: string(data)})
	if h.also != nil {
		h.also(data)
	}
	return len(data), nil
}
