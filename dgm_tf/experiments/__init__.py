"""One stream through one learner, grids of such runs, and what is asked of them afterwards."""
