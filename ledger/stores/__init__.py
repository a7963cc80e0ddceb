"""The stores that keep the ledger: one port (`ledger.store`), one contract test suite, and what each can promise."""
