"""Searching for settings: s_max and lambda, and others on request, with KerasTuner."""
