"""Pools, compute nodes, jobs and tasks as frozen records, with the specification's names.

Records are what the engine decides on and what the store keeps. Moments and durations are microseconds
(:mod:`millpond.common.clock`). Enumerations are the strings of the wire.

Every entity has a ``key`` besides its ``id``: the id in lower case behind the account's name, because ids keep
their case but are unique without it, and accounts do not see each other. What a client specified and the engine
does not decide on is carried in ``document``: the request in the newest API version's form, opaque here.
"""
