"""Doorways: a message comes in with ids, one service call goes out. A step's task bears the step's name."""

from vai_app.tasks import periodic, steps

__all__ = ["periodic", "steps"]
