"""Graphs: the op contract, the order of a step, reverse mode, row gradients."""
