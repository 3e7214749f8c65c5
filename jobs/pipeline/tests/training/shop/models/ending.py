"""How a visit ends, and where it lies: a class of three and a vector, from one scikit-learn tree."""

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from tidemill import models


class Ending:
    def __init__(self, tree, classes):
        self.tree = tree
        self.order = [list(tree.classes_).index(name) for name in classes]

    def predict(self, frame):
        rows = columns(frame)
        return {"ending": self.tree.predict_proba(rows)[:, self.order], "place": rows}


def columns(frame):
    return np.column_stack([frame["visit"].fillna(0).astype(float) % 2, frame["pages"].fillna(-1).astype(float)])


def train(ctx, dataset, out):
    frame = dataset.to_pandas()
    tree = DecisionTreeClassifier(max_depth=4, random_state=1).fit(columns(frame), frame[dataset.label])
    classes = dataset.outputs["ending"]["classes"]
    models.save(out, Ending(tree, classes), frame[dataset.features], outputs=dataset.outputs)
