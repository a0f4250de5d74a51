"""The commands of `wyrm`, one file each; cli.py joins them and ends with exit codes."""
