"""Training on many workers: `fit`, blocks, processes and threads."""
