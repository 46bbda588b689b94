"""The data sets: which clips there are, with labels, groups and splits. One file a data set, and `registry`."""
