"""The interface as its document says it is, asked for by a machine that knows nothing else."""
