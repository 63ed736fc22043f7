"""Do the work of the commands: one function per command, which notebooks call too."""
