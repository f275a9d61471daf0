"""The daemon, its socket, and the clients that talk to it."""
