"""`headrace up`, `down`, `status`, `logs`: the local stack."""


def up() -> None:
    raise NotImplementedError


def down() -> None:
    raise NotImplementedError


def status() -> None:
    raise NotImplementedError


def logs() -> None:
    raise NotImplementedError
