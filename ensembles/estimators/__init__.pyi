from .regressor import EnsembleRegressor as EnsembleRegressor
