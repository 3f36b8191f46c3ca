"""What goes wrong around a backend, on its real engine: killed processes, full disks, forks, hostile strings, secrets.

Each fault has a module, and ``python -m codeweaver_tools.faults --target NAME`` runs them all against one target::

    history     what is written beside a fault, and what must be there afterwards
    sparse      the same of a sparse index and of sparse vectors
    writer      the process that writes it, and is killed
    kills       processes that are killed
    nodes       nodes of a cluster that are killed, and that are cut off
    disks       disks without room
    forks       children that inherit a backend
    hostile     strings that an engine could take for something else
    secrets     keys and passwords in whatever can be printed
"""
