"""Is it true? The incident replayed, and benchmarks. Drives the other rooms as processes over HTTP, as a user would."""
