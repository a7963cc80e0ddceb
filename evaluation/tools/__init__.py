"""Simulated tools that write down what they did: `holdfast simulate tools`."""
