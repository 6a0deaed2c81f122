"""How well a learner remembers: accuracy on real images, and the audit of its memory."""
