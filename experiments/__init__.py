"""The programs: one file per thing that a user does."""
