"""What a model folder doesn't hold: code of the project that the model names."""


def filled(frame):
    return frame.fillna(0)
