"""The estimator checks of scikit-learn, almost all of which fit models."""

from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

# One check of each property: parameters, tags, inputs, repeated fits, pickling, and outputs.
SAMPLE = {
    "check_complex_data",
    "check_dict_unchanged",
    "check_estimators_empty_data_messages",
    "check_estimators_nan_inf",
    "check_estimators_pickle",
    "check_estimators_unfitted",
    "check_fit2d_1feature",
    "check_fit_idempotent",
    "check_methods_subset_invariance",
    "check_n_features_in_after_fitting",
    "check_outliers_fit_predict",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_supervised_y_2d",
    "check_valid_tag_types",
}


# Names of checks that must fail, with the reason.
EXPECTED = {
    "check_methods_subset_invariance": "an output rests on the rows around its row, which a subset or a batch lacks",
    "check_methods_sample_order_invariance": "the order of rows is time: other rows come before each one",
}


def check_parameters(*estimators: Any) -> list[Any]:
    """Return an estimator and a check for each check of scikit-learn."""
    found = []
    for kind in estimators:
        for estimator, check in estimator_checks_generator(kind):
            name = check.func.__name__
            marks: list[Any] = [pytest.mark.slow if name in SAMPLE else pytest.mark.exhaustive]
            if name in EXPECTED:
                marks.append(pytest.mark.xfail(reason=EXPECTED[name], strict=True))
            found.append(pytest.param(estimator, check, marks=marks, id=f"{type(estimator).__name__}-{name}"))
    return found
