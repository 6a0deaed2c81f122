"""A cluster of processes on this machine."""

import json
import socket


def tf_configs(processes: int) -> list[str]:
    """A TF_CONFIG for each of some workers at free ports of this machine, the chief's first."""
    sockets = [socket.socket() for _ in range(processes)]
    for each in sockets:
        each.bind(("localhost", 0))
    workers = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return [
        json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        for index in range(processes)
    ]
