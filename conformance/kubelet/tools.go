//go:build tools

// Package tools keeps the kubelet among what this module needs.
package tools

import _ "k8s.io/kubernetes/cmd/kubelet"
