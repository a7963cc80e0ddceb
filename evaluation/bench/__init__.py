"""What the guard costs: Holdfast against nothing, nginx and a bare aiohttp proxy, in one run on one machine.

The server under test has a core of its own; the load generator, the tool and the Redis server share the other. Systems
take turns within each round, so that whatever else the machine does meets all of them alike. Every figure is the median
over the rounds, and every ratio is taken within a round first.
"""
