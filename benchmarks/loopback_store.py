"""The embedded store behind a real HTTP server on a free loopback port, which it prints first."""

import socket
import sys

import uvicorn

from tests.support.store_app import StoreApp

if __name__ == "__main__":
    # asyncio disables Nagle's algorithm only where the socket names TCP; without it each answer takes 40 ms more.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(StoreApp(sys.argv[1]), lifespan="off", log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
