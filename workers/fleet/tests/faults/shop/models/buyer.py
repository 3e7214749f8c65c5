"""A model that needs no library, and a step that counts: both quick, and the same each time."""

from tidemill import models


class Buyer:
    """Those who look at more pages than they are used to buy."""

    def predict(self, rows):
        return ((rows["pages"] - rows["pages_7d"]).fillna(0) / 20 + 0.5).clip(0, 1)


def train(ctx, dataset, out):
    rows = dataset.to_pandas()[dataset.features]
    models.save(out, Buyer(), rows, outputs=dataset.outputs)
    return {"rows": len(rows)}


def count(ctx, dataset, out):
    for number in range((ctx.last_checkpoint or 0) + 1, ctx.params["upto"] + 1):
        ctx.checkpoint(number)
    ctx.log_metrics({"counted": ctx.last_checkpoint})
    return {"counted": ctx.last_checkpoint}
