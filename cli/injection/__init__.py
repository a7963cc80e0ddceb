"""`holdfast inject`: the sidecar for manifests that no chart makes."""
