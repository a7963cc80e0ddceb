"""The `holdfast` command: one file per noun."""
