"""The loop over the T steps of a block, batched over blocks."""
