"""`bare_server` over Streamable HTTP on the port that argv names."""

import sys

from bare_server import server

if __name__ == "__main__":
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
