"""The event stream: every event, durable for some days, to be read on from any point.

A directory beside the spool. Each process that emits events is a writer with a directory of its
own in it, so that none waits for another:

    DIRECTORY/queue1/lock                         held by the process that writes
    DIRECTORY/queue1/EPOCH-FIRST.events           a segment: blocks of lines, only ever appended to

`block` is the format, `segment` the names, `writer` writes, `cursor` is a point in all writers'
segments, `reader` reads on from it in the order of time, `wanted` says which events, `tail`
waits for more, `retention` bounds it all.

Guarantees: 1. mail never waits for it: a process hands lines to a thread, and drops and counts
what cannot be written.  2. what was written survives the death of every process; of a power cut
what is older than SYNC_S and the flush of the log.  3. an event id is never given twice.  4. the
events of one message are read in their order, also where it moved from one queue to another.
"""
