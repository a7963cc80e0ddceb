"""What the operator asked for, per tool: the model, the strict loader, the matcher, and the policies we ship."""
