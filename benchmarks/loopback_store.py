"""The embedded store behind a real HTTP server on a free loopback port, which it prints first.

Like a real service it has several processes: with one, a long answer to one caller would keep the calls of others
waiting here, and a benchmark would measure this program.
"""

import os
import signal
import socket
import sys

import uvicorn

from tests.support.store_app import StoreApp

PROCESSES = 3
SWITCH_SECONDS = 0.0005


def serve(listener: socket.socket, path: str) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.setswitchinterval(SWITCH_SECONDS)
    config = uvicorn.Config(StoreApp(path), lifespan="off", log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    # asyncio disables Nagle's algorithm only where the socket names TCP; without it each answer takes 40 ms more.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    listener.listen()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    processes: list[int] = []
    for _ in range(PROCESSES):
        if (process := os.fork()) == 0:
            serve(listener, sys.argv[1])
            os._exit(0)
        processes.append(process)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    for process in processes:
        os.kill(process, signal.SIGTERM)
