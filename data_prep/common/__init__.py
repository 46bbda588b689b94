"""What every room here uses: how programs start and end, files, progress."""
