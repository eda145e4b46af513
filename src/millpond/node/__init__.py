"""What runs on a compute node: the agent, the sandbox it may live in, and the launcher of agents on one machine.

It shares with the service only :mod:`millpond.common`. Modules that need Linux are imported when they are needed.
"""
