"""`headrace doctor`: everything a machine can lack, and the fix."""


def doctor() -> None:
    raise NotImplementedError
