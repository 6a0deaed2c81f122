"""What a run leaves on disk: its folder, the format of its files, and the chain of its log."""
