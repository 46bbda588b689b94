"""A table of features on the device; a batch has only row numbers."""

import jax


def look_up(batch, dtype):
    """Replaces the row numbers in a batch by the rows of its table.

    Args:
      batch: a dict. If it has `rows`, `<int>[...]`, it also has `table` `<float>[F, K², D]`, or a dict of such tables
        by level; other batches are returned as they are.
      dtype: of the features that are returned.

    Returns:
      A batch as `steps.predict` takes it. The features, `<float>[..., K², D]`, are its `frames` where the batch has
      `where`, else its `features`.
    """
    if "rows" not in batch:
        return batch
    batch = dict(batch)
    rows = batch.pop("rows")
    found = jax.tree.map(lambda table: table[rows].astype(dtype), batch.pop("table"))
    return batch | {"frames" if "where" in batch else "features": found}
