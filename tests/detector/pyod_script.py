"""A PyOD user's script, run with PyOD's own detector, and with its first import changed for ours."""

import json

import numpy as np
from pyod.models.knn import KNN as Detector  # the line that is changed
from sklearn.metrics import roc_auc_score

rng = np.random.default_rng(0)
X_train, X_test = rng.normal(size=(400, 3)), rng.normal(size=(200, 3))
X_train[:20] = rng.uniform(-9, 9, size=(20, 3))
y_test = np.zeros(200, int)
y_test[:20] = 1
X_test[:20] = rng.uniform(-9, 9, size=(20, 3))

clf = Detector(contamination=0.1)
clf.fit(X_train)

y_train_pred = clf.labels_
y_train_scores = clf.decision_scores_
y_test_pred = clf.predict(X_test)
y_test_scores = clf.decision_function(X_test)
y_test_proba = clf.predict_proba(X_test)
unified = clf.predict_proba(X_test, method="unify")

print(
    json.dumps(
        {
            "shapes": [list(np.shape(a)) for a in (y_train_scores, y_test_scores, y_test_proba)],
            "verdicts": [
                (len(a), a.dtype.kind, sorted(set(a.tolist()))) for a in (y_train_pred, y_test_pred)
            ],
            "above_the_threshold": bool(((y_train_scores > clf.threshold_) == (y_train_pred == 1)).all()),
            "proba_adds_up": [bool(np.allclose(p.sum(axis=1), 1)) for p in (y_test_proba, unified)],
            "anomalies_are_ones": float(y_test_pred[:20].mean()),
            "alerts_of_the_training_rows": float(y_train_pred.mean()),
            "auc": float(roc_auc_score(y_test, y_test_scores)),
            "contamination": clf.get_params()["contamination"],
        }
    )
)
