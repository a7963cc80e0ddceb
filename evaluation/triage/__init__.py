"""What happened in an incident: which calls ran more than once, by which mechanism, on what evidence.

`reading` takes files to events (`event`), `spill` keeps them on disk, `executions` and `clusters` find what ran more
than once, `story` gathers what the logs have about each, `causes` weighs how it came about, and `accounting` puts it
together.
"""
