"""The authors' data layout, read and written."""
