"""What every folder may use: errors, files, the shell of a command, parameters by path, and where results come from."""
