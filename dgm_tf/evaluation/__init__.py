"""Accuracy on real images, the audit of the memory, and the judgement of generated images."""
