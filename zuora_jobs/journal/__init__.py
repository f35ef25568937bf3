"""The durable record of a run, in a file: what was watched, what was seen, how it ended."""
