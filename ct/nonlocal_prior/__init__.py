"""A prior without training data: patches of an image resemble other patches of it."""
