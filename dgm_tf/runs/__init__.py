"""The folders of runs and saved learners, the format of their files, and the origin of numbers."""
