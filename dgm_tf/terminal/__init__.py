"""What a terminal shows of the work and asks of it: lines, progress, Ctrl-C."""
