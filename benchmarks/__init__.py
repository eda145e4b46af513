"""What Millpond is measured by: ``python -m benchmarks [ROW …]``; ``--list`` says what there is.

Each row is a function in :mod:`benchmarks.rows` that says what is timed and what is not. Where a peer can be had, it
does the same work in the same run, in turn with Millpond.
"""
