"""A long job in parts, each of which one process does: what job arrays of batch systems are for.

    shard.py   which part
    record.py  what the folder of a part says of itself, `shard.json`
    part.py    does one part, into a folder of its own
    parts.py   all parts of a job, as one

A part is the command itself: it comes to its pieces (`znas.jobs.Kept`), does every n-th of them and ends
before values are put together. Parts are joined by the command itself, which finds all its pieces there.
"""
