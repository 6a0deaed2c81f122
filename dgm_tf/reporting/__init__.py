"""A run in numbers and pictures: its folder read, tables, figures and an HTML page.

Nothing here needs TensorFlow but `tensorboard`, so that a page is made in seconds, anywhere.
"""

# The figures that `page.write_figure` makes, and what a run needs for each.
FIGURES = {"growth": "a generator that grows", "accuracy": "a finished task"}
