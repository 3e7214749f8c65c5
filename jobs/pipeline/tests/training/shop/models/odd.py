"""What people return, raise and leave behind."""

from models.helper import answer


def work(ctx, dataset, out):
    what = ctx.params["what"]
    if what == "odd values":
        ctx.log_metrics({"loss": float("inf")})
        ctx.checkpoint({"best": float("nan"), "name": "a\0"})
        (out / "model.txt").write_text("trained for hours")
        (out / "a\nb").write_text("beside it")
        return {"auc": float("nan"), "name": "a\0b", "artifact": "/etc"}
    if what == "artifact of another":
        return {"artifact": "/etc"}
    if what == "raise":
        raise ValueError("a\0b")
    return {"answer": answer()}
