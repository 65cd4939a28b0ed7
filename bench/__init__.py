"""Questions about speed and memory, one per file, each answered in its docstring and by `python -m bench NAME`."""
