"""Images and tasks: sources, checks of what users hand in, and the stream that shows each once."""
