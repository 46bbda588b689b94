"""Training and evaluation steps, on one device or many; optimiser and checkpoints."""
