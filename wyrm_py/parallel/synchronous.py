"""placeholder"""

run_rounds = None
