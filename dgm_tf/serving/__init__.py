"""A generator that leaves the lab: its export, loading it back, and serving it."""
