"""What every other folder may use: errors, files, processes, the shell of a command, and where results come from."""
