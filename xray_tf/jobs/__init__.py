"""Where nets and stats meet: one function a command, and what notebooks call."""
