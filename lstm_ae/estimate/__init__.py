"""What a long command will take, before it is given: time, memory and disk, from a few of its own training steps."""
