"""Commands that train: flags and defaults, no logic."""
