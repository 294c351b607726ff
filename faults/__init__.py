"""The fault matrix: every fault, at every moment, through every face, with real processes and sockets.

    wire       what each fault puts on the wire
    matrix     the cells, and the rule that says what has to come of each
    server     a provider that does to each call what its cell says, and counts the tries
    network    addresses at which there is no provider
    dials      counts the tries there, where no server can
    faces      the same calls through library, daemon and batch
    verdict    what came of a cell, held against the rule

It shares no code with the client that it examines, except what starts it.
"""
