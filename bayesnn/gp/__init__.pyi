from .exact import GaussianProcess as GaussianProcess
from .exact import fit_gp as fit_gp
from .exact import gp_posterior as gp_posterior
from .regression import Kernel as Kernel
