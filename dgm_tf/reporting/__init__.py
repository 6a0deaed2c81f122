"""A run in numbers and pictures: its folder read, tables, figures and an HTML page.

Nothing here needs TensorFlow but `tensorboard`, so that a page is made in seconds, anywhere.
"""

import logging

# Matplotlib would say on standard error, when it is imported, that it finds no place for its cache,
# and later, in the midst of a run, that it fills it.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

# The figures that `page.write_figure` makes, and what a run needs for each.
FIGURES = {"growth": "a generator that grows", "accuracy": "a finished task"}
