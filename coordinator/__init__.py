"""The coordinator: threads and runs, from `requires_action` to submitted outputs: once, in order, never stalled."""
