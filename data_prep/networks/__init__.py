"""The networks that make features of frames, and their weights."""
