"""What a long-running process asks of its interpreter and its operating system."""

import gc
import resource


def settle_memory() -> None:
    """Keep the collector off what lives as long as the process: a full pass costs more than thousands of records.

    Call it when everything is built. Later garbage in cycles is still collected, in larger steps.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def allow_many_connections() -> None:
    """A call in flight holds a connection; the usual soft limit of 1,024 files is less than a worker's calls."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
