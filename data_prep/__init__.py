"""From the videos on a user's disk to feature files and batches of blocks."""
