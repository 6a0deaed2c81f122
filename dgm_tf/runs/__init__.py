"""The folder of a run on disk, the format of its files, and the origin of its numbers."""
