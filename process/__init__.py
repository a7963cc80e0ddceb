"""What every Holdfast process has: libraries new enough to start on, secrets in files, probes that tell the truth."""
