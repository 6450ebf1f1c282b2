from .exact import GaussianProcess as GaussianProcess
from .exact import fit_gp as fit_gp
from .exact import gp_posterior as gp_posterior
from .iterative import IterativeGaussianProcess as IterativeGaussianProcess
from .iterative import fit_gp_iterative as fit_gp_iterative
from .regression import Kernel as Kernel
