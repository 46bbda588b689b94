"""From features on disk to batches on devices."""
