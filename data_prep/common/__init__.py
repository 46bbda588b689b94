"""What every folder here uses: how programs start and end, files, progress."""
