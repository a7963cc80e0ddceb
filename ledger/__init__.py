"""What is known about each tool call: records, the table of transitions, and the stores that keep them."""
