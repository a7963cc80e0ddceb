"""A proxy on a stage: virtual time, a scripted tool, callers without sockets; all between them is the real thing."""
