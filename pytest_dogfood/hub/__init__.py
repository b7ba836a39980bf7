"""The hub: a database that knows how far every task is, and workplan files that are kept true to it."""
