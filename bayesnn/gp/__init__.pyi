from .exact import GaussianProcess as GaussianProcess
from .exact import fit_gp as fit_gp
from .exact import gp_posterior as gp_posterior
from .finite_network_prior import finite_nngp_prior as finite_nngp_prior
from .finite_network_prior import finite_ntk_prior as finite_ntk_prior
from .iterative import IterativeGaussianProcess as IterativeGaussianProcess
from .iterative import fit_gp_iterative as fit_gp_iterative
from .marginal_likelihood import MarginalLikelihoodFit as MarginalLikelihoodFit
from .marginal_likelihood import by_kind as by_kind
from .marginal_likelihood import (
    maximise_marginal_likelihood as maximise_marginal_likelihood,
)
from .marginal_likelihood import one_by_one as one_by_one
from .pathwise import PathwiseSamples as PathwiseSamples
from .pathwise import pathwise_samples as pathwise_samples
from .prior_draws import JointDraws as JointDraws
from .prior_draws import covariance_error as covariance_error
from .regression import Kernel as Kernel
