"""Offline tools: look at any queue directory, dead or alive, and change nothing."""
