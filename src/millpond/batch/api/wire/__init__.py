"""The table of what goes over the wire: every model of the Batch API, its members, and since and until when.

One class per model, in the newest API version's form plus older members that nothing newer replaces. The classes
validate requests (types, required members, ranges, lengths, patterns, enumerations), give answers their shape,
and tell :mod:`~millpond.batch.api.versions` which members an older version does not know. Members that a newer
one replaced are not here: they are a change in that list.
"""
