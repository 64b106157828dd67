"""Intrinsic dimension and label sharpness of a set and of its images. `register` adds a user's dimension estimator."""

from dataprops.properties.estimators import ESTIMATORS, Estimator, Neighbours, register, unregister

__all__ = ["ESTIMATORS", "Estimator", "Neighbours", "register", "unregister"]
