"""Data: columns for `fit`, readers of rating files, ids, splits."""
