"""The programs: one file for each thing that a user does."""
