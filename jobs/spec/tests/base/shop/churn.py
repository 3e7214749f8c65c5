def train(ctx, dataset, out):
    pass


def score(row):
    return {"score": 1.0}
