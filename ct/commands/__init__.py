"""The command line's commands, one file each: options in, one library call, a report out."""
