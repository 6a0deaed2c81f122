"""What all others know of a method: one record, its settings, and their values for data sets."""
