"""What `jqueue` and `jqueue-archive` share: values on the command line, text on the terminal."""
