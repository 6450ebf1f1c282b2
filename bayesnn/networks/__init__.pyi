from .activations import Erf as Erf
from .builders import mlp as mlp
from .fourier import FourierFeatures as FourierFeatures
from .layers import NTKLinear as NTKLinear
from .layers import StandardLinear as StandardLinear
from .prior import draw_initial_params as draw_initial_params
from .prior import prior_precision as prior_precision
from .prior import readout_names as readout_names
