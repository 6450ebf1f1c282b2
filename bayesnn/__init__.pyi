from . import calibration as calibration
from . import networks as networks
from .predictive import Predictive as Predictive
