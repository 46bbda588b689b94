"""Features of clips: extraction, and the two formats in which they are kept."""
