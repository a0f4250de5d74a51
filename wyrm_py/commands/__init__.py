"""The commands of `wyrm`, one file each; cli.py joins them and ends with exit codes.

They import the estimators when they run: scikit-learn takes a second, which `--help`
and a mistyped option need not wait for.
"""
