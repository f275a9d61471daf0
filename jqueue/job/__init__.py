"""The job floor: pure values and functions, with no clock, path, thread or log."""
