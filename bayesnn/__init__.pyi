from . import calibration as calibration
from . import networks as networks
from .class_probabilities import ClassProbabilities as ClassProbabilities
from .predictive import Predictive as Predictive
