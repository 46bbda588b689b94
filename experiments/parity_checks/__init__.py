"""Ours against recordings of the authors' program."""
