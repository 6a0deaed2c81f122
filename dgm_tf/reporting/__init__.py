"""What a run looks like: its folder read, the numbers of each picture, figures and HTML pages.

Nothing here needs TensorFlow but `tensorboard`, so that a page is made in seconds, anywhere.
"""

FIGURES = ("growth", "accuracy")  # what `comparison.write_figure` draws
