"""The ops, a file for each family, and the methods a user types."""
