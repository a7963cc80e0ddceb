"""A simulator of an Assistants-style API: threads, messages, runs and steps, strict about state, faulty on request."""
