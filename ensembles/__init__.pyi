from .estimators import EnsembleRegressor as EnsembleRegressor
from .methods.deep_ensemble import deep_ensemble as deep_ensemble
from .methods.ntkgp_param import ntkgp_param as ntkgp_param
from .trainers.adam import adam as adam
from .trainers.gauss_newton import gauss_newton as gauss_newton
