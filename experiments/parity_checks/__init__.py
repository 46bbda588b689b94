"""Comparisons of this program with recordings of the authors' program."""
