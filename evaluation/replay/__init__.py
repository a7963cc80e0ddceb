"""The replay: turns, what goes wrong meanwhile, and what audits show of it. Nothing here starts a process."""
