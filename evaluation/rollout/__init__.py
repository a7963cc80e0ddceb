"""A rolling restart under load, with real processes: two sidecars, two coordinators, a Redis, and the tools' audit."""
