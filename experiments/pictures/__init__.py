"""Filmstrips, overlays, videos and matrices from arrays. Nothing here depends on runs."""
