"""The data port's HTTP/1.1 server: callers' connections, each read strictly and answered in order (decision 0025)."""
