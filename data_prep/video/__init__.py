"""Video files: what may be opened, frame rates, decoded frames."""
