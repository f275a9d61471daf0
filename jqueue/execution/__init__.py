"""Execution: logical units, the scheduler, and the workers that carry opcodes out."""
