"""Zuora's jobs in other people's frames: each module is an extra, and nothing below imports them."""
