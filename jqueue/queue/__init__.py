"""The queue floor: the rules by which jobs are submitted, run, canceled, archived."""
