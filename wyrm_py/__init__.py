"""wyrm_py: your own sparse model, at the speed of C++, on all cores."""
