from .classifier import EnsembleClassifier as EnsembleClassifier
from .regressor import EnsembleRegressor as EnsembleRegressor
