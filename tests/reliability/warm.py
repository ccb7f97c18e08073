"""A process that has imported what a run needs, and becomes a run whenever it is told to.

Reads one JSON request a line: the words of a command line, variables of its environment, the file for what it says,
how large a file may become (0: as it likes), whether its time of day jumps, and whether it measures for a time budget
hastily, each thing once. Answers with a line of the run's
process id, and when it ended with a line of its exit code (negative: the signal). Each run is a process of its own, a
copy of this one, the leader of a session of its own, in which the workers that it starts are found. Root's right to
write everywhere is laid down: a folder that is read-only is read-only for these runs, whoever starts the tests.
"""

import json
import os
import resource
import sys

if __name__ == "__main__":
    import torch._dynamo  # noqa: F401 - what an optimiser imports, once for all, too
    from as_anybody import lay_down_rights
    from jumping_clock import let_the_time_jump

    from nnbox import faults
    from nnbox.cli import main
    from nnbox.stages import predict, probing, report, selection, train, training  # noqa: F401 - imported once for all

    lay_down_rights()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            said = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.environ.update(request["environment"])
            if request["file_bytes"]:
                resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"], request["file_bytes"]))
            if request["jumping"]:
                let_the_time_jump()
            if request["hasty"]:
                probing._LEAST_SECONDS = probing._SHARE = 0.0
            faults.arm(os.environ.get(faults.VARIABLE))
            sys.exit(main(request["words"]))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
