"""The stores that keep runs and results: one port (`coordinator.store`), one contract test suite, three places."""
