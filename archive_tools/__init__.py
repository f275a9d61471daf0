"""Offline tools for a queue directory: they read it without a daemon and without its lock."""
