"""What `holdfast doctor` looks at: the machine, and a store of each kind."""
