"""The sidecar: HTTP in, one forward, HTTP out."""
