"""When to look, and what was seen."""
