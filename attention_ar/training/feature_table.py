"""A table of features on the device; a batch has only row numbers."""


def look_up(batch, dtype):
    """Replaces the row numbers in a batch by the rows of its table.

    Args:
      batch: a dict. If it has `rows`, `<int>[...]`, it also has `table` `<float>[F, K², D]`; other batches are returned
        as they are.
      dtype: of the features that are returned.

    Returns:
      A batch as `steps.predict` takes it. The features, `<float>[..., K², D]`, are its `frames` where the batch has
      `where`, else its `features`.
    """
    if "rows" not in batch:
        return batch
    batch = dict(batch)
    found = batch.pop("table")[batch.pop("rows")].astype(dtype)
    return batch | {"frames" if "where" in batch else "features": found}
