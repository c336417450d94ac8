"""The estimator: Nearnorm in a notebook, in scikit-learn's manner and with PyOD's meaning."""
