"""A picture of a run: in figures, on a terminal, and as one self-contained page."""
