"""The decisions of the Batch service, pure: no clock, no input or output, no randomness, no logging.

``machine.step(state, event, now)`` is the whole of it: what happened goes in, changed records and orders to the
world come out. It never sees a wire name, an API version, a URL or a store.
"""
