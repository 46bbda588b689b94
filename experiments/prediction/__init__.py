"""Predictions of video files and streams by a trained run."""
