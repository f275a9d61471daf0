"""The command line: `jqueue`."""
