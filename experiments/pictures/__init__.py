"""Filmstrips, overlays, videos and matrices from arrays. Nothing here knows of runs."""
