"""The REST client at its two seams: a transport in this process, and bytes on a socket."""
