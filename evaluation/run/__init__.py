"""The replay as it is run: real processes, turns sent at their times, outages on schedule, records in a folder."""
