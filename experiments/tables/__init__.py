"""The paper's tables and sweeps: many runs, compared."""
