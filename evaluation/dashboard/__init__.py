"""The dashboard as a picture: its own queries, asked of a Prometheus that scrapes real processes under load."""
