"""The commands of `jqueue-archive`, one module each; `archive_tools.cli` names them all."""
