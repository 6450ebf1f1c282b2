"""Scores of predictive distributions: how sharp they are and whether they can be believed."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
